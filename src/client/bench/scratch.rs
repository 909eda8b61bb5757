//! Names of its own in a daemon, deleted afterwards.

use crate::client::address::Address;
use crate::client::connection::Connection;
use crate::client::failure::{Failure, Result};
use crate::client::reply::Reply;
use crate::client::request::{RequestLine, string};

/// Keys that are set and got.
pub const KEYS: u64 = 1000;

/// Posts in a batch of those that are only to be found.
const POSTS: u64 = 100;

/// Such batches.
const BATCHES: u64 = 200;

/// Words that messages are made of.
const WORDS: &[&str] = &[
    "amber",
    "anise",
    "basil",
    "bergamot",
    "birch",
    "cassia",
    "cedar",
    "clove",
    "coriander",
    "cypress",
    "davana",
    "elemi",
    "fennel",
    "fir",
    "galbanum",
    "geranium",
    "ginger",
    "grapefruit",
    "hay",
    "hyssop",
    "iris",
    "jasmine",
    "juniper",
    "labdanum",
    "laurel",
    "lavender",
    "lemon",
    "lime",
    "mandarin",
    "marjoram",
    "melissa",
    "mint",
    "mimosa",
    "moss",
    "musk",
    "myrrh",
    "myrtle",
    "narcissus",
    "neroli",
    "nutmeg",
    "oak",
    "olibanum",
    "orange",
    "oregano",
    "orris",
    "patchouli",
    "pepper",
    "petitgrain",
    "pine",
    "rose",
    "rosemary",
    "saffron",
    "sage",
    "sandalwood",
    "tarragon",
    "thyme",
    "tonka",
    "tuberose",
    "vanilla",
    "verbena",
    "vetiver",
    "violet",
    "yarrow",
    "ylang",
];

/// An application with a chat, keys and queues that nobody else has.
#[derive(Debug)]
pub struct Scratch {
    address: Address,
    name: String,
    app: String,
    chat: u64,
}

impl Scratch {
    /// What a daemon that runs on keeps of it.
    pub const NOTE: &'static str = "its log keeps what happened until it is compacted";

    /// Makes the application and the chat, and sets the keys.
    ///
    /// # Errors
    /// No daemon answers, or it refuses.
    pub fn make(address: &Address) -> Result<Self> {
        let mut connection = address.connect()?;
        let name = format!("msglog-bench-{}", std::process::id());
        let app = ask(&mut connection, RequestLine::new("app.create").text("name", &name))?;
        let app = app.text("token").unwrap_or_default();
        let mut scratch = Scratch { address: address.clone(), name, app, chat: 0 };
        if let Err(failure) = scratch.furnish(&mut connection) {
            // It is why there is nothing to measure, whether or not the rest can be deleted.
            let _ = scratch.remove();
            return Err(failure);
        }
        Ok(scratch)
    }

    /// Posts messages that a search finds. How many.
    ///
    /// # Errors
    /// The daemon is gone, or refuses.
    pub fn fill(&self) -> Result<u64> {
        let mut connection = self.address.connect()?;
        for number in 0..BATCHES {
            connection.accepted(&self.posts(number, POSTS))?;
        }
        Ok(BATCHES * POSTS)
    }

    fn furnish(&mut self, connection: &mut Connection) -> Result<()> {
        let chat = ask(connection, RequestLine::new("chat.create").text("app", &self.app))?;
        self.chat = chat.number("number").unwrap_or(0);
        batch(connection, &(0..KEYS).map(|key| self.set(key)).collect::<Vec<_>>())
    }

    /// Deletes everything again. What is refused keeps nothing else from being deleted.
    ///
    /// # Errors
    /// The daemon is gone, or refuses.
    pub fn remove(self) -> Result<()> {
        let mut connection = self.address.connect()?;
        let keys = (0..KEYS).map(|key| RequestLine::new("kv.delete").text("key", &self.key(key)).finish());
        let keys = batch(&mut connection, &keys.collect::<Vec<_>>());
        let app = ask(&mut connection, RequestLine::new("app.delete").text("token", &self.app));
        keys.and(app.map(|_| ())).and(self.remove_queues(&mut connection))
    }

    fn remove_queues(&self, connection: &mut Connection) -> Result<()> {
        // A queue is there only if a case has used it.
        for queue in 0..super::load::CONNECTIONS_MAX {
            let name = self.queue(queue);
            let list = RequestLine::new("queue.get").text("queue", &name).finish();
            let found = connection.ask(&list).map_err(|error| Failure::lost(&error))?;
            if found.refusal().is_some() {
                continue;
            }
            ask(connection, RequestLine::new("queue.purge").text("queue", &name))?;
            ask(connection, RequestLine::new("queue.drop").text("queue", &name))?;
        }
        Ok(())
    }

    /// The queue of a connection.
    #[must_use]
    pub fn queue(&self, connection: u64) -> String {
        format!("{}-{connection}", self.name)
    }

    /// A post of a few words.
    #[must_use]
    pub fn post(&self, number: u64, durable: bool) -> String {
        let mut request = RequestLine::new("message.post");
        request.text("app", &self.app).number("chat", self.chat).text("body", &words(number, 12));
        if !durable {
            request.raw("durable", "false");
        }
        request.finish()
    }

    /// So many posts in one step.
    #[must_use]
    pub fn posts(&self, number: u64, count: u64) -> String {
        let posts: Vec<String> = (0..count).map(|post| self.post(number * count + post, true)).collect();
        RequestLine::new("batch").raw("commands", &format!("[{}]", posts.join(","))).finish()
    }

    /// Sets one of the keys.
    #[must_use]
    pub fn set(&self, number: u64) -> String {
        let value = string(&words(number, 12));
        RequestLine::new("kv.set").text("key", &self.key(number)).raw("value", &value).finish()
    }

    /// Gets one of the keys.
    #[must_use]
    pub fn get(&self, number: u64) -> String {
        RequestLine::new("kv.get").text("key", &self.key(number)).finish()
    }

    /// Searches the posts for two words.
    #[must_use]
    pub fn search(&self, number: u64) -> String {
        let mut request = RequestLine::new("message.search");
        request.text("text", &words(number, 2)).text("app", &self.app).number("limit", 10).finish()
    }

    fn key(&self, number: u64) -> String {
        format!("{}/{}", self.name, number % KEYS)
    }
}

/// A few words that follow from a number.
fn words(number: u64, count: usize) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let mut text = String::with_capacity(count * 9);
    for _ in 0..count {
        // xorshift64 (Marsaglia 2003): words need no better randomness.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let place = usize::try_from(state % WORDS.len() as u64).unwrap_or(0);
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(WORDS.get(place).copied().unwrap_or_default());
    }
    text
}

fn batch(connection: &mut Connection, requests: &[String]) -> Result<()> {
    let commands = format!("[{}]", requests.join(","));
    ask(connection, RequestLine::new("batch").raw("commands", &commands)).map(|_| ())
}

fn ask(connection: &mut Connection, request: &RequestLine) -> Result<Reply> {
    connection.accepted(&request.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_from_their_number() {
        assert_eq!(words(7, 12), words(7, 12));
        assert_ne!(words(7, 12), words(8, 12));
        assert_eq!(words(7, 12).split(' ').count(), 12);
    }
}
