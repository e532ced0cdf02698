//! The workers: a few threads, shared by all connections, for requests that wait for the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::execute::{Executor, Mode};
use super::exports::Entry;
use super::link::{Budget, InFlight};
use super::outbox::Outbox;
use crate::proto::Request;

/// A request on its way to a worker.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) in_flight: InFlight,
    pub(super) export: Arc<Entry>,
    pub(super) structured: bool,
    pub(super) cookie: u64,
    pub(super) request: Request,
}

/// The pool. Clones share the threads.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    max_threads: usize,
    max_queue: usize,
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    /// Threads that run, which those that panicked in a device do not.
    alive: usize,
    idle: usize,
    stopping: bool,
}

impl Pool {
    pub(super) fn new(max_threads: usize, max_queue: usize, budget: Arc<Budget>) -> Self {
        let shared = Shared {
            queue: Mutex::default(),
            ready: Condvar::new(),
            max_threads,
            max_queue,
            budget,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether a job would find a thread of its own at once.
    pub(super) fn has_room(&self) -> bool {
        let queue = self.shared.queue.lock();
        !queue.stopping && (queue.idle > queue.jobs.len() || queue.alive < self.shared.max_threads)
    }

    /// Hands a job to a worker, or back when the pool is full or stopping.
    pub(super) fn submit(&self, job: Job) -> Result<(), Job> {
        let mut queue = self.shared.queue.lock();
        if queue.stopping || queue.jobs.len() >= self.shared.max_queue {
            return Err(job);
        }
        if queue.idle <= queue.jobs.len() && queue.alive < self.shared.max_threads {
            let shared = Arc::clone(&self.shared);
            let spawned =
                std::thread::Builder::new().name("nbd-worker".into()).spawn(move || work(&shared));
            match spawned {
                Ok(thread) => {
                    queue.threads.retain(|thread| !thread.is_finished());
                    queue.threads.push(thread);
                    queue.alive += 1;
                }
                // Fewer threads than wished still do the work.
                Err(error) => tracing::warn!(%error, "cannot start an NBD worker"),
            }
        }
        if queue.alive == 0 {
            return Err(job);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.ready.notify_one();
        Ok(())
    }

    /// Lets the workers finish what is queued, and joins them.
    pub(super) fn stop(&self) {
        let threads = {
            let mut queue = self.shared.queue.lock();
            queue.stopping = true;
            std::mem::take(&mut queue.threads)
        };
        self.shared.ready.notify_all();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("an NBD worker had panicked");
            }
        }
    }
}

/// Keeps the count of live threads right, whichever way a worker ends.
struct Alive<'a>(&'a Shared);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().alive -= 1;
    }
}

fn work(shared: &Shared) {
    let _alive = Alive(shared);
    let mut out = Outbox::default();
    loop {
        let job = {
            let mut queue = shared.queue.lock();
            loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.stopping {
                    return;
                }
                queue.idle += 1;
                shared.ready.wait(&mut queue);
                queue.idle -= 1;
            }
        };
        run(shared, job, &mut out);
    }
}

fn run(shared: &Shared, job: Job, out: &mut Outbox) {
    let Job { in_flight, export, structured, cookie, request } = job;
    let in_flight = Arc::new(in_flight);
    let link = &in_flight.link;
    let executor =
        Executor { export: &export, counters: &link.counters, structured, budget: &shared.budget };
    let mut emit = |out: &mut Outbox| {
        link.post(out, &in_flight);
        Ok(())
    };
    match executor.run(cookie, &request, Mode::Blocking, out, &mut emit) {
        Ok(_) => link.post(out, &in_flight),
        Err(error) => {
            tracing::warn!(connection = link.id, %error, "closing the connection");
            out.clear();
            link.socket.close_both();
        }
    }
}
