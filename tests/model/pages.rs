//! Pages of lists.

use serde_json::{Value, json};

use super::exact::number;

/// How many items a page takes.
pub fn limit(request: &Value) -> usize {
    usize::try_from(number(request, "limit").unwrap_or(100)).unwrap_or(usize::MAX)
}

/// The first page of `items`, each with what `next` says when it is the page's last.
pub fn page(name: &str, request: &Value, items: Vec<(Value, Value)>) -> Value {
    let limit = limit(request);
    let mut reply = json!({});
    if items.len() > limit {
        reply["next"] = items[limit - 1].0.clone();
    }
    reply[name] = items.into_iter().take(limit).map(|(_, item)| item).collect();
    reply
}
