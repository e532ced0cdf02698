//! Grants of one user: made, used, ended, and known term by term.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::user::{check_decrypted, encrypt};
use crate::world::Sample;

/// Grants of one granter at a time.
const LIVE_GRANTS: usize = 5;

/// A grant that was acknowledged, or found.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) id: String,
    /// None if the answer with it was lost.
    pub(crate) token: Option<String>,
    pub(crate) terms: Value,
    pub(crate) key: usize,
    /// What it opens, if something could be encrypted for it.
    pub(crate) sample: Option<Sample>,
}

pub(crate) struct Granter {
    pub(crate) index: usize,
    pub(crate) root: Caller,
    pub(crate) grantee: Caller,
    pub(crate) rng: StdRng,
    pub(crate) live: Vec<Grant>,
    pub(crate) made: u64,
    pub(crate) ended: u64,
    pub(crate) in_doubt: u64,
    pub(crate) denied: u64,
    pub(crate) named: u64,
}

impl Granter {
    pub(crate) fn principal(&self) -> String {
        format!("arn:aws:iam::000000000000:user/grantee-{}", self.index)
    }

    pub(crate) fn context(&self) -> Value {
        json!({ "granter": self.index.to_string() })
    }

    /// The grants of a key that have a name of this granter.
    pub(crate) async fn listed(&mut self, key: usize, name: Option<&str>) -> Vec<Value> {
        let request = json!({ "KeyId": self.root.storm.key(key).arn, "Limit": 20 });
        let mut listed = self.root.list("ListGrants", request, "Grants").await;
        let principal = self.principal();
        listed.retain(|grant| grant["GranteePrincipal"] == principal);
        listed.retain(|grant| name.is_none_or(|name| grant["Name"] == name));
        listed
    }

    pub(crate) async fn create(&mut self) {
        let storm = Arc::clone(&self.root.storm);
        let key = storm.any_key(&mut self.rng);
        if self.live.iter().any(|grant| grant.key == key) {
            return;
        }
        let shared = storm.key(key);
        self.named += 1;
        let name = format!("g{}-{}", self.index, self.named);
        let mut operations = vec!["Decrypt"];
        if self.rng.random() {
            operations.push("DescribeKey");
        }
        let constraint = match self.rng.random_range(0..3) {
            0 => json!({ "EncryptionContextEquals": self.context() }),
            1 => json!({ "EncryptionContextSubset": self.context() }),
            _ => Value::Null,
        };
        let mut terms = json!({ "KeyId": shared.arn, "Name": name, "Operations": operations,
            "GranteePrincipal": self.principal(), "RetiringPrincipal": self.principal() });
        if !constraint.is_null() {
            terms["Constraints"] = constraint;
        }
        let before = storm.lost.load(Ordering::Relaxed);
        let answer = self.root.use_keys("CreateGrant", &terms, &[&shared]).await;
        let (id, token) = match answer {
            Some(answer) => {
                self.made += 1;
                (answer.text("GrantId").to_owned(), Some(answer.text("GrantToken").to_owned()))
            }
            // Refused for the key's state.
            None if storm.lost.load(Ordering::Relaxed) == before => return,
            None => {
                self.in_doubt += 1;
                let listed = self.listed(key, Some(&name)).await;
                assert!(listed.len() <= 1, "{listed:?}");
                let Some(found) = listed.first() else { return };
                (found["GrantId"].as_str().unwrap().to_owned(), None)
            }
        };
        // A named grant is made once.
        if self.rng.random_bool(0.2)
            && let Some(again) = self.root.use_keys("CreateGrant", &terms, &[&shared]).await
        {
            assert_eq!(again.text("GrantId"), id);
        }
        let context = self.context();
        let sample = encrypt(&mut self.root, &mut self.rng, key, context).await;
        self.live.push(Grant { id, token, terms, key, sample });
    }

    /// The grantee decrypts what the grant is for; and what it is not for, it may not.
    pub(crate) async fn use_one(&mut self) {
        let Some(grant) = self.live.choose(&mut self.rng).cloned() else { return };
        let shared = self.root.storm.key(grant.key);
        if let Some(sample) = &grant.sample {
            let request =
                json!({ "CiphertextBlob": sample.blob, "EncryptionContext": sample.context });
            if let Some(answer) = self.grantee.use_keys("Decrypt", &request, &[&shared]).await {
                check_decrypted(sample, &shared.arn, &answer);
            }
        }
        let request = json!({ "KeyId": shared.arn, "NumberOfBytes": 64 });
        self.must_be_denied("GenerateDataKey", &request).await;
        if grant.terms.get("Constraints").is_some() {
            let other = shared.samples.lock().choose(&mut self.rng).cloned();
            let Some(other) = other.filter(|sample| sample.context != self.context()) else {
                return;
            };
            let request =
                json!({ "CiphertextBlob": other.blob, "EncryptionContext": other.context });
            self.must_be_denied("Decrypt", &request).await;
        }
    }

    /// Whatever the key's state: permission is decided before it is told.
    pub(crate) async fn must_be_denied(&mut self, operation: &'static str, request: &Value) {
        if let Some(answer) = self.grantee.send(operation, request).await {
            assert_eq!(answer.code(), "AccessDeniedException", "{operation} {request}: {answer:?}");
            self.denied += 1;
        }
    }

    pub(crate) async fn end_one(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let grant = self.live.remove(self.rng.random_range(0..self.live.len()));
        let arn = self.root.storm.key(grant.key).arn.clone();
        let by_id = json!({ "KeyId": arn, "GrantId": grant.id });
        let answer = match (self.rng.random_range(0..3), &grant.token) {
            (0, _) => self.root.send("RevokeGrant", &by_id).await,
            (1, Some(token)) => {
                self.grantee.send("RetireGrant", &json!({ "GrantToken": token })).await
            }
            _ => self.grantee.send("RetireGrant", &by_id).await,
        };
        match answer {
            Some(answer) => {
                assert!(answer.is_ok(), "{grant:?}: {answer:?}");
                self.ended += 1;
            }
            None => {
                self.in_doubt += 1;
                let name = grant.terms["Name"].as_str().unwrap().to_owned();
                let listed = self.listed(grant.key, Some(&name)).await;
                if let Some(found) = listed.first() {
                    assert_eq!(found["GrantId"], grant.id);
                    self.live.push(grant);
                    return;
                }
            }
        }
        if let Some(sample) = &grant.sample {
            let request =
                json!({ "CiphertextBlob": sample.blob, "EncryptionContext": sample.context });
            self.must_be_denied("Decrypt", &request).await;
        }
    }

    /// The grants of all keys against the model, term by term.
    pub(crate) async fn check(&mut self) {
        let keys = self.root.storm.keys.lock().len();
        let mut found = BTreeMap::new();
        for key in 0..keys {
            for grant in self.listed(key, None).await {
                found.insert(grant["GrantId"].as_str().unwrap().to_owned(), grant);
            }
        }
        let expected: BTreeSet<_> = self.live.iter().map(|grant| grant.id.clone()).collect();
        let ids: BTreeSet<_> = found.keys().cloned().collect();
        assert_eq!(ids, expected, "grants of granter {}", self.index);
        for grant in &self.live {
            for (member, value) in grant.terms.as_object().unwrap() {
                assert_eq!(&found[&grant.id][member], value, "{member} of {grant:?}");
            }
            let constraints = found[&grant.id].get("Constraints");
            assert_eq!(constraints.is_some(), grant.terms.get("Constraints").is_some());
        }
    }
}

pub(crate) async fn grant(mut granter: Granter) -> Granter {
    let storm = Arc::clone(&granter.root.storm);
    while storm.goes_on() {
        match granter.rng.random_range(0..100) {
            0..30 if granter.live.len() < LIVE_GRANTS => granter.create().await,
            0..75 => granter.use_one().await,
            _ => granter.end_one().await,
        }
    }
    granter
}
