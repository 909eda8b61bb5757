//! What tests of queues say again and again.

use serde_json::{Value, json};

use super::{Client, Reply, until};

impl Client {
    /// Puts a job on the queue `q`; its number.
    #[track_caller]
    pub fn put(&mut self, body: impl Into<Value>) -> u64 {
        self.ok(json!({"cmd": "queue.put", "queue": "q", "body": body.into()})).number("job")
    }

    /// Reserves up to so many jobs of the queue `q` that are ready now.
    #[track_caller]
    pub fn reserve(&mut self, max: u64) -> Vec<Value> {
        self.ok(json!({"cmd": "queue.reserve", "queue": "q", "max": max, "lease_ms": 600_000})).list("jobs")
    }

    /// Reserves one job of the queue `q` that is there.
    #[track_caller]
    pub fn reserve_one(&mut self) -> Value {
        self.reserve(1).pop().expect("a ready job")
    }

    /// Waits for one job of the queue `q`, with a lease of so many milliseconds.
    #[track_caller]
    pub fn await_job(&mut self, lease_ms: u64) -> Value {
        let request = json!({"cmd": "queue.reserve", "queue": "q", "lease_ms": lease_ms, "wait_ms": 25_000});
        self.ok(request).list("jobs").pop().expect("a job comes")
    }

    /// `queue.ack`, `queue.nack` or `queue.extend` of this job with its lease.
    pub fn settle(&mut self, command: &str, job: &Value) -> Reply {
        let mut request =
            json!({"cmd": format!("queue.{command}"), "job": job["job"], "lease": job["lease"]});
        if command == "extend" {
            request["lease_ms"] = json!(600_000);
        }
        self.ask(request)
    }

    /// The settings and counts of the queue `q`.
    #[track_caller]
    pub fn queue(&mut self) -> Value {
        self.ok(json!({"cmd": "queue.get", "queue": "q"}))["queue"].clone()
    }

    /// The jobs of the queue `q` in this state.
    #[track_caller]
    pub fn peek(&mut self, state: &str) -> Vec<Value> {
        self.ok(json!({"cmd": "queue.peek", "queue": "q", "state": state})).list("jobs")
    }

    /// Waits until the queue `q` has so many jobs in this state.
    #[track_caller]
    pub fn await_count(&mut self, state: &str, count: u64) {
        until(&format!("{count} jobs are {state}"), || {
            (self.queue()[state].as_u64() == Some(count)).then_some(())
        });
    }
}

/// The bodies of these jobs.
pub fn bodies(jobs: &[Value]) -> Vec<Value> {
    jobs.iter().map(|job| job["body"].clone()).collect()
}
