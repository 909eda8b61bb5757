//! Lists of the daemon, page after page.

use super::Export;
use crate::client::failure::Result;
use crate::client::request::RequestLine;
use crate::json;

/// Items on a page.
const PAGE: u64 = 1000;

/// Gives each item of a list, on all its pages. The request is one that goes on behind `after`.
///
/// # Errors
/// The daemon refuses or goes away, or what an item is given to.
pub fn each<'a>(
    export: &mut Export<'a>,
    request: &RequestLine,
    list: &str,
    take: &mut dyn FnMut(&mut Export<'a>, &str) -> Result<()>,
) -> Result<()> {
    pages(export, request, list, &mut |export, items| items.iter().try_for_each(|item| take(export, item)))
}

/// Gives all items of each page.
///
/// # Errors
/// As for [`each`].
pub fn pages<'a>(
    export: &mut Export<'a>,
    request: &RequestLine,
    list: &str,
    take: &mut dyn FnMut(&mut Export<'a>, &[&str]) -> Result<()>,
) -> Result<()> {
    pages_of(export, PAGE, request, list, take)
}

/// The same with so many items on a page.
///
/// # Errors
/// As for [`each`].
pub fn pages_of<'a>(
    export: &mut Export<'a>,
    limit: u64,
    request: &RequestLine,
    list: &str,
    take: &mut dyn FnMut(&mut Export<'a>, &[&str]) -> Result<()>,
) -> Result<()> {
    let request = request.finish();
    let open = request.strip_suffix('}').unwrap_or(&request);
    let mut after = String::new();
    loop {
        let page = export.connection.accepted(&format!("{open},\"limit\":{limit}{after}}}"))?;
        take(export, &page.field(list).and_then(json::array).unwrap_or_default())?;
        match page.field("next") {
            Some(next) => after = format!(",\"after\":{next}"),
            None => return Ok(()),
        }
    }
}
