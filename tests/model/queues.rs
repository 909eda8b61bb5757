//! Queues: a list of jobs, looked through from end to end each time.

use msglogd::domain::queues::lease_hash;
use msglogd::time::Timestamp;
use serde_json::{Value, json};

use super::exact::{must, must_number, number, text};
use super::pages::page;
use super::{Answer, Model, Refused, merged, refuse};

/// The states of jobs.
pub const STATES: [&str; 4] = ["ready", "delayed", "leased", "dead"];

/// A queue's settings.
#[derive(Debug, Clone)]
pub struct Queue {
    lease_ms: u64,
    max_attempts: Option<u64>,
    max_jobs: Option<u64>,
}

/// A job that is not done.
#[derive(Debug, Clone)]
pub struct Job {
    pub queue: String,
    priority: u64,
    body: Value,
    at: String,
    attempts: u64,
    /// Which of [`STATES`].
    pub state: &'static str,
    /// When the lease or the delay is over.
    due: Timestamp,
    /// The event that says that its lease ran out.
    expired: Option<u64>,
    /// The holder's token.
    pub lease: Option<String>,
}

impl Job {
    /// Jobs with a smaller order are delivered first.
    fn order(&self, seq: u64) -> (u64, u64, u64) {
        (self.expired.unwrap_or(u64::MAX), 9 - self.priority, seq)
    }

    fn moved(&mut self, state: &'static str, due: Timestamp) {
        (self.state, self.due, self.expired, self.lease) = (state, due, None, None);
    }
}

fn in_state(wanted: Option<&str>) -> impl Fn(&Job) -> bool {
    move |job| wanted.is_none_or(|wanted| wanted == job.state)
}

impl Model {
    fn queue_mut(&mut self, name: &str) -> &mut Queue {
        let fresh = Queue { lease_ms: 30_000, max_attempts: Some(5), max_jobs: None };
        self.queues.entry(name.to_owned()).or_insert(fresh)
    }

    fn known_queue(&self, name: &str) -> Result<&Queue, Refused> {
        self.queues.get(name).map_or_else(|| refuse("not_found"), Ok)
    }

    /// Seqs of the queue's jobs that are `wanted`, ready ones in the order of delivery.
    fn jobs_of(&self, queue: &str, wanted: impl Fn(&Job) -> bool) -> Vec<u64> {
        let mut jobs: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.queue == queue && wanted(job)).collect();
        if jobs.iter().all(|(_, job)| job.state == "ready") {
            jobs.sort_by_key(|(seq, job)| job.order(**seq));
        }
        jobs.into_iter().map(|(seq, _)| *seq).collect()
    }

    pub(super) fn is_full(&self, queue: &str) -> bool {
        let held = self.jobs_of(queue, |job| job.state != "dead").len() as u64;
        let bound = self.queues.get(queue).and_then(|queue| queue.max_jobs);
        bound.is_some_and(|bound| held >= bound)
    }

    pub(super) fn put(&mut self, queue: &str, priority: u64, delay_ms: u64, body: Value) -> Answer {
        if self.is_full(queue) {
            return refuse("queue_full");
        }
        self.queue_mut(queue);
        let event = json!({"queue": queue, "priority": priority, "body": body});
        let seq = self.emit("job.put", merged(event, self.delay(delay_ms)));
        let state = if delay_ms > 0 { "delayed" } else { "ready" };
        let (at, due) = (self.at(), self.now.plus_ms(delay_ms));
        let queue = queue.to_owned();
        let job = Job { queue, priority, body, at, attempts: 0, state, due, expired: None, lease: None };
        self.jobs.insert(seq, job);
        Ok(json!({"job": seq, "seq": seq}))
    }

    fn delay(&self, delay_ms: u64) -> Value {
        if delay_ms == 0 {
            return json!({});
        }
        json!({"delay_ms": delay_ms, "ready_at": self.now.plus_ms(delay_ms).to_string()})
    }

    fn reserve(&mut self, request: &Value, given: &Value) -> Value {
        let name = must(request, "queue");
        let max = usize::try_from(number(request, "max").unwrap_or(1)).unwrap_or(usize::MAX);
        let Ok(queue) = self.known_queue(&name) else { return json!({"jobs": []}) };
        let lease_ms = number(request, "lease_ms").unwrap_or(queue.lease_ms);
        let due = self.now.plus_ms(lease_ms);
        let mut jobs = Vec::new();
        for seq in self.jobs_of(&name, in_state(Some("ready"))).into_iter().take(max) {
            let lease = self.take_token(&given["jobs"][jobs.len()]["lease"], 22);
            let Some(job) = self.jobs.get_mut(&seq) else { continue };
            job.moved("leased", due);
            job.attempts += 1;
            job.lease = Some(lease.clone());
            let attempt = job.attempts;
            self.leases.push((seq, lease.clone()));
            jobs.push(json!({
                "job": seq, "lease": lease, "attempt": attempt, "body": job.body,
                "expires_at": due.to_string(),
            }));
            self.emit(
                "job.leased",
                json!({
                    "queue": name, "job": seq, "lease": lease_hash(&lease), "attempt": attempt,
                    "lease_ms": lease_ms, "expires_at": due.to_string(),
                }),
            );
        }
        json!({"jobs": jobs})
    }

    pub(super) fn write_queue(&mut self, name: &str, request: &Value, given: &Value) -> Answer {
        let priority = number(request, "priority").unwrap_or(0);
        let delay_ms = number(request, "delay_ms").unwrap_or(0);
        match name {
            "queue.put" => self.put(&must(request, "queue"), priority, delay_ms, request["body"].clone()),
            "queue.reserve" => Ok(self.reserve(request, given)),
            "queue.ack" | "queue.extend" | "queue.nack" => self.as_holder(name, request, delay_ms),
            "queue.configure" => Ok(self.configure(request)),
            "queue.revive" => self.revive(request),
            "queue.delete" => {
                let seq = must_number(request, "job");
                let Some(job) = self.jobs.remove(&seq) else { return refuse("not_found") };
                Ok(json!({"seq": self.emit("job.deleted", json!({"queue": job.queue, "job": seq}))}))
            }
            "queue.purge" => self.purge(request),
            _ => {
                let name = must(request, "queue");
                self.known_queue(&name)?;
                if !self.jobs_of(&name, |_| true).is_empty() {
                    return refuse("conflict");
                }
                self.queues.remove(&name);
                Ok(json!({"seq": self.emit("queue.dropped", json!({"queue": name}))}))
            }
        }
    }

    fn as_holder(&mut self, name: &str, request: &Value, delay_ms: u64) -> Answer {
        let seq = must_number(request, "job");
        let Some(job) = self.jobs.get(&seq).cloned() else { return refuse("not_found") };
        if job.lease != text(request, "lease") {
            return refuse("lease_lost");
        }
        let event = json!({"queue": job.queue, "job": seq});
        if name == "queue.ack" {
            self.jobs.remove(&seq);
            return Ok(json!({"seq": self.emit("job.acked", event)}));
        }
        if name == "queue.extend" {
            let lease_ms = must_number(request, "lease_ms");
            let due = self.now.plus_ms(lease_ms);
            self.jobs.entry(seq).and_modify(|job| job.due = due);
            let expires = json!({"expires_at": due.to_string()});
            let event = merged(event, merged(expires.clone(), json!({"lease_ms": lease_ms})));
            return Ok(merged(expires, json!({"seq": self.emit("job.extended", event)})));
        }
        let dead = self.was_last(&job);
        let delay_ms = if dead { 0 } else { delay_ms };
        let state = if dead { "dead" } else { ["ready", "delayed"][usize::from(delay_ms > 0)] };
        let due = self.now.plus_ms(delay_ms);
        self.jobs.entry(seq).and_modify(|job| job.moved(state, due));
        let event = merged(merged(event, self.delay(delay_ms)), json!({"dead": dead}));
        Ok(json!({"seq": self.emit("job.nacked", event)}))
    }

    fn was_last(&self, job: &Job) -> bool {
        let bound = self.queues.get(&job.queue).and_then(|queue| queue.max_attempts);
        bound.is_some_and(|bound| job.attempts >= bound)
    }

    fn configure(&mut self, request: &Value) -> Value {
        let name = must(request, "queue");
        let before = self.queues.contains_key(&name).then(|| self.settings(&name));
        let queue = self.queue_mut(&name);
        queue.lease_ms = number(request, "lease_ms").unwrap_or(queue.lease_ms);
        if request.get("max_attempts").is_some() {
            queue.max_attempts = number(request, "max_attempts");
        }
        if request.get("max_jobs").is_some() {
            queue.max_jobs = number(request, "max_jobs");
        }
        let settings = self.settings(&name);
        if before.as_ref() != Some(&settings) {
            self.emit("queue.configured", settings.clone());
        }
        settings
    }

    pub(super) fn settings(&self, name: &str) -> Value {
        let Queue { lease_ms, max_attempts, max_jobs } = &self.queues[name];
        json!({"queue": name, "lease_ms": lease_ms, "max_attempts": max_attempts, "max_jobs": max_jobs})
    }

    fn revive(&mut self, request: &Value) -> Answer {
        let name = must(request, "queue");
        self.known_queue(&name)?;
        let one = number(request, "job");
        let mut seqs = self.jobs_of(&name, in_state(Some("dead")));
        let mut event = json!({"queue": name});
        if let Some(seq) = one {
            match self.jobs.get(&seq).filter(|job| job.queue == name) {
                None => return refuse("not_found"),
                Some(job) if job.state != "dead" => return refuse("conflict"),
                Some(_) => seqs = vec![seq],
            }
            event["job"] = json!(seq);
        }
        event["revived"] = json!(seqs.len());
        for seq in &seqs {
            let entry = self.jobs.entry(*seq).and_modify(|job| job.moved("ready", job.due));
            entry.and_modify(|job| job.attempts = 0);
        }
        if !seqs.is_empty() {
            self.emit("job.revived", event);
        }
        Ok(json!({"revived": seqs.len()}))
    }

    fn purge(&mut self, request: &Value) -> Answer {
        let name = must(request, "queue");
        self.known_queue(&name)?;
        let state = request["state"].as_str();
        let seqs = self.jobs_of(&name, in_state(state));
        seqs.iter().for_each(|seq| drop(self.jobs.remove(seq)));
        let mut event = json!({"queue": name, "deleted": seqs.len()});
        if let Some(state) = state {
            event["state"] = json!(state);
        }
        if !seqs.is_empty() {
            self.emit("queue.purged", event);
        }
        Ok(json!({"deleted": seqs.len()}))
    }

    /// Leases and delays that are over by now, as the daemon of user `uid` sees to them.
    pub fn fall_due(&mut self, uid: u32) {
        self.uid = uid;
        let over = |job: &Job| ["leased", "delayed"].contains(&job.state) && job.due <= self.now;
        let mut due: Vec<_> = self.jobs.iter().filter(|(_, job)| over(job)).collect();
        due.sort_by_key(|(seq, job)| (job.due, 9 - job.priority, **seq));
        let due: Vec<(u64, Job)> = due.into_iter().map(|(seq, job)| (*seq, job.clone())).collect();
        for (seq, job) in due {
            let event = json!({"queue": job.queue, "job": seq});
            let expired = job.state == "leased";
            let dead = expired && self.was_last(&job);
            let said = if expired {
                self.emit("job.expired", merged(event, json!({"dead": dead})))
            } else {
                self.emit("job.readied", event)
            };
            let entry = self.jobs.entry(seq);
            let state = if dead { "dead" } else { "ready" };
            let entry = entry.and_modify(|job| job.moved(state, job.due));
            entry.and_modify(|job| job.expired = (expired && !dead).then_some(said));
        }
    }

    fn shown_queue(&self, name: &str) -> Value {
        let mut shown = self.settings(name);
        for state in STATES {
            shown[state] = json!(self.jobs_of(name, in_state(Some(state))).len());
        }
        if let Some(oldest) = self.jobs_of(name, in_state(Some("ready"))).iter().min() {
            shown["oldest_at"] = json!(self.jobs[oldest].at);
        }
        shown
    }

    fn shown_job(&self, seq: u64) -> Value {
        let Job { state, priority, attempts, at, body, due, .. } = &self.jobs[&seq];
        let mut shown = json!({
            "job": seq, "state": state, "priority": priority, "attempts": attempts, "at": at, "body": body,
        });
        match *state {
            "delayed" => shown["ready_at"] = json!(due.to_string()),
            "leased" => shown["expires_at"] = json!(due.to_string()),
            _ => {}
        }
        shown
    }

    pub(super) fn read_queues(&self, name: &str, request: &Value) -> Answer {
        if name == "queue.list" {
            let after = text(request, "after").unwrap_or_default();
            let names = self.queues.keys().filter(|name| **name > after);
            let items = names.map(|name| (json!(name), self.shown_queue(name)));
            return Ok(page("queues", request, items.collect()));
        }
        let queue = must(request, "queue");
        self.known_queue(&queue)?;
        if name == "queue.get" {
            return Ok(json!({"queue": self.shown_queue(&queue)}));
        }
        let state = text(request, "state").unwrap_or("ready".to_owned());
        let seqs = self.jobs_of(&queue, in_state(Some(&state)));
        let behind = number(request, "after").map_or(0, |after| {
            seqs.iter().position(|seq| *seq == after).expect("the last job of a page") + 1
        });
        let items = seqs.into_iter().skip(behind).map(|seq| (json!(seq), self.shown_job(seq)));
        Ok(page("jobs", request, items.collect()))
    }
}
