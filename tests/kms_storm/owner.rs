//! Changing keys, and knowing what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::user::{encrypt, some_context};
use crate::world::{Gate, Shared, State};

/// Keys of one owner.
const KEYS: usize = 2;

/// What an owner knows of a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) state: State,
    pub(crate) description: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) policy: Option<String>,
    pub(crate) aliases: BTreeSet<String>,
    pub(crate) rotates_in_days: Option<i64>,
    pub(crate) rotations: usize,
}

pub(crate) struct Owner {
    pub(crate) name: String,
    pub(crate) caller: Caller,
    pub(crate) rng: StdRng,
    /// Places in the storm's keys.
    pub(crate) places: Vec<usize>,
    pub(crate) keys: Vec<Key>,
    pub(crate) materials: Vec<Vec<String>>,
    /// Descriptions of keys whose creation was not answered.
    pub(crate) maybe: Vec<String>,
    pub(crate) changes: u64,
    pub(crate) in_doubt: u64,
}

impl Owner {
    pub(crate) async fn create_key(&mut self) {
        let storm = Arc::clone(&self.caller.storm);
        for attempt in 0.. {
            let description = format!("{} {} {attempt}", self.name, self.keys.len());
            let request = json!({ "Description": description });
            let Some(answer) = self.caller.send("CreateKey", &request).await else {
                self.maybe.push(description);
                continue;
            };
            assert!(answer.is_ok(), "{answer:?}");
            let metadata = &answer.body["KeyMetadata"];
            let arn = metadata["Arn"].as_str().unwrap().to_owned();
            let gate = Mutex::new(Gate { looks: 0, state: Some(State::Enabled) });
            let shared = Shared { arn, gate, samples: Mutex::default() };
            let mut keys = storm.keys.lock();
            self.places.push(keys.len());
            keys.push(Arc::new(shared));
            self.keys.push(Key {
                state: State::Enabled,
                description,
                tags: BTreeMap::new(),
                policy: None,
                aliases: BTreeSet::new(),
                rotates_in_days: None,
                rotations: 0,
            });
            let material = metadata["CurrentKeyMaterialId"].as_str().unwrap().to_owned();
            self.materials.push(vec![material]);
            return;
        }
    }

    pub(crate) fn shared(&self, index: usize) -> Arc<Shared> {
        self.caller.storm.key(self.places[index])
    }

    /// What the daemon says of the keys, which are told by this owner alone. The default policy is
    /// known by its text.
    pub(crate) async fn observe(&mut self) -> Vec<Key> {
        let mut observed = Vec::new();
        for index in 0..self.keys.len() {
            let arn = self.shared(index).arn.clone();
            let key = json!({ "KeyId": arn });
            let caller = &mut self.caller;
            let told = caller.read("DescribeKey", &key).await;
            let metadata = &told.body["KeyMetadata"];
            let state = State::parse(metadata["KeyState"].as_str().unwrap());
            let description = metadata["Description"].as_str().unwrap().to_owned();
            let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
            let tags = caller.list("ListResourceTags", key.clone(), "Tags").await;
            let tags =
                tags.iter().map(|tag| (text(tag, "TagKey"), text(tag, "TagValue"))).collect();
            let policy = caller.read("GetKeyPolicy", &key).await.text("Policy").to_owned();
            let policy = policy.contains(STAMP).then_some(policy);
            let aliases = caller.list("ListAliases", key.clone(), "Aliases").await;
            let aliases = aliases.iter().map(|alias| text(alias, "AliasName")).collect();
            let status = loop {
                let status = caller.read("GetKeyRotationStatus", &key).await;
                if status.body.get("OnDemandRotationStartDate").is_none() {
                    break status;
                }
                tokio::task::yield_now().await;
            };
            let rotates_in_days = match state {
                // It reports that it does not; it is told again when the deletion is cancelled.
                State::PendingDeletion => self.keys[index].rotates_in_days,
                _ => status.body["RotationPeriodInDays"].as_i64(),
            };
            let request = json!({ "KeyId": arn, "IncludeKeyMaterial": "ALL_KEY_MATERIAL" });
            let materials = self.caller.list("ListKeyRotations", request, "Rotations").await;
            let materials: Vec<_> =
                materials.iter().map(|entry| text(entry, "KeyMaterialId")).collect();
            let known = &mut self.materials[index];
            assert!(materials.starts_with(known), "{arn}: {materials:?} after {known:?}");
            let rotations = materials.len() - 1;
            *known = materials;
            observed.push(Key {
                state,
                description,
                tags,
                policy,
                aliases,
                rotates_in_days,
                rotations,
            });
        }
        observed
    }

    /// The whole model against the daemon.
    pub(crate) async fn check(&mut self, when: &str) {
        let observed = self.observe().await;
        assert_eq!(observed, self.keys, "{} {when}", self.name);
        for index in 0..self.keys.len() {
            // A rotation that is over is the current material.
            let key = json!({ "KeyId": self.shared(index).arn });
            let told = self.caller.read("DescribeKey", &key).await;
            let current = told.body["KeyMetadata"]["CurrentKeyMaterialId"].as_str();
            assert_eq!(current, self.materials[index].last().map(String::as_str));
        }
    }

    /// A change: asked for, and then done or refused as its `refusals` say, or looked up.
    pub(crate) async fn change(
        &mut self,
        operation: &'static str,
        request: &Value,
        refusals: &[&str],
        next: Vec<Key>,
    ) {
        let moves: Vec<usize> = (0..self.keys.len())
            .filter(|index| self.keys[*index].state != next[*index].state)
            .collect();
        let must_fail = !refusals.is_empty() && !refusals.contains(&"");
        for index in &moves {
            self.shared(*index).set(None);
        }
        match self.caller.send(operation, request).await {
            Some(answer) if answer.is_ok() => {
                assert!(!must_fail, "{operation} must be refused: {:?}", self.keys);
                self.keys = next;
                self.changes += 1;
            }
            Some(answer) => {
                let code = answer.code();
                assert!(refusals.contains(&code), "{operation}: {answer:?} for {:?}", self.keys);
            }
            None => {
                self.in_doubt += 1;
                let observed = self.observe().await;
                let done = !must_fail && observed == next;
                assert!(
                    done || observed == self.keys,
                    "{operation} was left half done: {observed:?} is neither {:?} nor {next:?}",
                    self.keys
                );
                self.keys = observed;
            }
        }
        for index in moves {
            self.shared(index).set(Some(self.keys[index].state));
        }
    }

    pub(crate) async fn step(&mut self) {
        let index = self.rng.random_range(0..self.keys.len());
        let shared = self.shared(index);
        let state = self.keys[index].state;
        let mut next = self.keys.clone();
        let key = &mut next[index];
        let mut request = json!({ "KeyId": shared.arn });
        let pending: &[&str] = match state {
            State::PendingDeletion => &["KMSInvalidStateException"],
            _ => &[],
        };
        let unusable: &[&str] = match state {
            State::Enabled => &[],
            State::Disabled => &["DisabledException"],
            State::PendingDeletion => &["KMSInvalidStateException"],
        };
        let stamp: u32 = self.rng.random();
        // Back to where it can be used, more often than not.
        let choice = match state {
            State::Disabled if self.rng.random_bool(0.4) => 10,
            State::PendingDeletion if self.rng.random_bool(0.5) => 95,
            _ => self.rng.random_range(0..110),
        };
        let (operation, refusals) = match choice {
            0..8 => {
                key.state = State::Disabled;
                ("DisableKey", pending)
            }
            8..16 => {
                key.state = State::Enabled;
                ("EnableKey", pending)
            }
            16..30 => {
                key.rotations += 1;
                let busy: &[&str] = &["", "ConflictException"];
                let refusals = if unusable.is_empty() { busy } else { unusable };
                ("RotateKeyOnDemand", refusals)
            }
            30..38 => {
                let (name, value) = (format!("t{}", stamp % 8), stamp.to_string());
                request["Tags"] = json!([{ "TagKey": name, "TagValue": value }]);
                key.tags.insert(name, value);
                ("TagResource", pending)
            }
            38..44 => {
                let name = format!("t{}", stamp % 8);
                request["TagKeys"] = json!([name]);
                key.tags.remove(&name);
                ("UntagResource", pending)
            }
            44..52 => {
                let policy = policy(stamp);
                request["Policy"] = json!(policy);
                key.policy = Some(policy);
                ("PutKeyPolicy", &[][..])
            }
            52..60 => {
                key.description = format!("{} says {stamp}", self.name);
                request["Description"] = json!(key.description);
                ("UpdateKeyDescription", pending)
            }
            60..82 => return self.alias_step(index, stamp).await,
            82..86 => {
                let days = i64::from(90 + stamp % 2471);
                request["RotationPeriodInDays"] = json!(days);
                key.rotates_in_days = Some(days);
                ("EnableKeyRotation", unusable)
            }
            86..89 => {
                key.rotates_in_days = None;
                ("DisableKeyRotation", unusable)
            }
            89..92 => {
                key.state = State::PendingDeletion;
                request["PendingWindowInDays"] = json!(7);
                ("ScheduleKeyDeletion", pending)
            }
            92..96 => {
                key.state = State::Disabled;
                let refusals: &[&str] = match state {
                    State::PendingDeletion => &[],
                    _ => &["KMSInvalidStateException"],
                };
                ("CancelKeyDeletion", refusals)
            }
            96..98 => return self.check("in between").await,
            _ => {
                let (place, context) = (self.places[index], some_context(&mut self.rng));
                let made = encrypt(&mut self.caller, &mut self.rng, place, context).await;
                if let Some(sample) = made {
                    self.caller.storm.keep(&mut self.rng, sample);
                }
                return;
            }
        };
        self.change(operation, &request, refusals, next).await;
    }

    /// Makes, moves or deletes an alias.
    pub(crate) async fn alias_step(&mut self, index: usize, stamp: u32) {
        let alias = format!("alias/{}-{}", self.name, stamp % 4);
        let holder = self.keys.iter().position(|key| key.aliases.contains(&alias));
        let mut next = self.keys.clone();
        let target = json!({ "AliasName": alias, "TargetKeyId": self.shared(index).arn });
        let refusals: &[&str] = match self.keys[index].state {
            State::PendingDeletion => &["KMSInvalidStateException"],
            _ => &[],
        };
        match holder {
            None => {
                next[index].aliases.insert(alias);
                self.change("CreateAlias", &target, refusals, next).await;
            }
            Some(holder) if self.rng.random_bool(0.6) => {
                next[holder].aliases.remove(&alias);
                next[index].aliases.insert(alias);
                self.change("UpdateAlias", &target, refusals, next).await;
            }
            Some(holder) => {
                next[holder].aliases.remove(&alias);
                let request = json!({ "AliasName": alias });
                self.change("DeleteAlias", &request, &[], next).await;
            }
        }
    }
}

/// What tells a policy of an owner from the default one.
pub(crate) const STAMP: &str = "stamp";

pub(crate) fn policy(stamp: u32) -> String {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "root", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
          "Principal": { "AWS": "arn:aws:iam::000000000000:root" } },
        { "Sid": format!("{STAMP}{stamp}"), "Effect": "Deny", "Action": "kms:Sign",
          "Resource": "*", "Principal": "*" },
    ]})
    .to_string()
}

pub(crate) async fn own(mut owner: Owner) -> Owner {
    for _ in 0..KEYS {
        owner.create_key().await;
    }
    let storm = Arc::clone(&owner.caller.storm);
    while storm.goes_on() {
        owner.step().await;
    }
    owner
}
