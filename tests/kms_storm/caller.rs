//! A client that lives through kills, writes down what was acknowledged, and judges answers by the
//! states of the keys.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sealvol_tests::daemon::AccessKey;
use sealvol_tests::kms_client::{Answer, KmsClient};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::world::{Link, Shared, State, Storm};

/// Nothing takes so long, unless it hangs.
const HANGS: Duration = Duration::from_secs(90);

/// An acknowledged call: for the audit.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) request_id: String,
    pub(crate) operation: &'static str,
    pub(crate) at: Duration,
    pub(crate) epoch: usize,
}

/// A client in the storm.
pub(crate) struct Caller {
    pub(crate) storm: Arc<Storm>,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) client: KmsClient,
    pub(crate) acknowledged: Vec<Acknowledged>,
}

impl Caller {
    pub(crate) fn new(storm: &Arc<Storm>, key: AccessKey) -> Self {
        let link = storm.link.subscribe();
        Self {
            storm: Arc::clone(storm),
            link,
            client: KmsClient::new(key),
            acknowledged: Vec::new(),
        }
    }

    /// Asks once. Nothing, if the daemon was killed before it answered: then the next one is up.
    pub(crate) async fn send(
        &mut self,
        operation: &'static str,
        request: &Value,
    ) -> Option<Answer> {
        let up = timeout(HANGS, self.link.wait_for(|link| link.address.is_some())).await;
        let Link { epoch, address } = up.expect("the daemon comes up").unwrap().clone();
        let call = self.client.call(address.as_deref().unwrap(), operation, request);
        match timeout(HANGS, call).await.unwrap_or_else(|_| panic!("{operation} hangs: {request}"))
        {
            Ok(answer) => {
                assert!(answer.status < 500, "{operation} {request}: {answer:?}");
                if answer.is_ok() {
                    let (request_id, at) = (answer.request_id.clone(), self.storm.watch.elapsed());
                    self.acknowledged.push(Acknowledged { request_id, operation, at, epoch });
                }
                Some(answer)
            }
            Err(error) => {
                self.storm.lost.fetch_add(1, Ordering::Relaxed);
                let next = |link: &Link| link.epoch > epoch && link.address.is_some();
                let killed = timeout(HANGS, self.link.wait_for(next)).await;
                killed
                    .unwrap_or_else(|_| panic!("{operation}: lost without a kill: {error}"))
                    .unwrap();
                None
            }
        }
    }

    /// Asks until it is answered, and it must be success: for reads.
    pub(crate) async fn read(&mut self, operation: &'static str, request: &Value) -> Answer {
        loop {
            if let Some(answer) = self.send(operation, request).await {
                assert!(answer.is_ok(), "{operation} {request}: {answer:?}");
                return answer;
            }
        }
    }

    /// All pages of a list.
    pub(crate) async fn list(
        &mut self,
        operation: &'static str,
        mut request: Value,
        member: &str,
    ) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let answer = self.read(operation, &request).await;
            all.extend(answer.body[member].as_array().unwrap().iter().cloned());
            match answer.body.get("NextMarker") {
                Some(marker) => request["Marker"] = marker.clone(),
                None => return all,
            }
        }
    }

    /// Asks for cryptography with some keys, and judges the answer by their states. The answer, if it
    /// was success.
    pub(crate) async fn use_keys(
        &mut self,
        operation: &'static str,
        request: &Value,
        keys: &[&Shared],
    ) -> Option<Answer> {
        let looks = |keys: &[&Shared]| keys.iter().map(|key| key.look()).collect::<Vec<_>>();
        let before = looks(keys);
        let answer = self.send(operation, request).await?;
        let after = looks(keys);
        let code = answer.code();
        let known: Vec<Option<State>> = before
            .iter()
            .zip(&after)
            .map(|(before, after)| before.state.filter(|_| before == after))
            .collect();
        let told = || panic!("{operation} with keys that are {known:?}: {answer:?} to {request}");
        match code {
            "" => {
                let must_fail = |state: &Option<State>| state.is_some_and(|s| s != State::Enabled);
                if known.iter().any(must_fail) {
                    told();
                }
            }
            "DisabledException" | "KMSInvalidStateException" => {
                // Some key may be in the state that is told.
                let fits = |state: &Option<State>| state.is_none_or(|s| s.refusal() == code);
                if !known.iter().any(fits) {
                    told();
                }
                self.storm.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => told(),
        }
        if known.iter().all(Option::is_some) {
            self.storm.judged.fetch_add(1, Ordering::Relaxed);
        }
        answer.is_ok().then_some(answer)
    }
}
