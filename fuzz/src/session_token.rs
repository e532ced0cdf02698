//! Session tokens: nothing opens a session but the token that was sealed for it, with its own access key
//! and before it ends.

use std::sync::OnceLock;

use sealvol_core::UnixMillis;
use sealvol_iam::{
    AssumeRole, Directory, IamConfig, Known, SessionCredentials, Sessions, TokenError,
};
use sealvol_policy::{Identity, Limits, MapContext};
use sealvol_testkit::SeededEntropy;

use crate::iam_config::SAMPLE;
use crate::input::Input;
use crate::memory::bounded;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

struct Genuine {
    directory: Directory,
    sessions: Sessions,
    made: SessionCredentials,
}

fn genuine() -> &'static Genuine {
    static GENUINE: OnceLock<Genuine> = OnceLock::new();
    GENUINE.get_or_init(|| {
        let config = IamConfig::from_toml(SAMPLE).expect("the sample reads");
        let policy = r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;
        let mut read = |_: &str| Ok(policy.to_owned());
        let directory = Directory::build(config, Known::Configured, &Limits::default(), &mut read)
            .expect("the sample builds");
        let sessions = Sessions::new(&[7; 32]);
        let caller = Identity::unlimited("arn:aws:iam::000000000000:user/alice");
        let request = AssumeRole {
            role_arn: "arn:aws:iam::000000000000:role/batch/worker",
            session_name: "s-1",
            duration_seconds: Some(900),
            external_id: None,
            policy: Some(policy),
        };
        let made = sessions.assume_role(
            &directory,
            &caller.expect("a user"),
            &request,
            &MapContext::default(),
            NOW,
            &SeededEntropy::new(1),
        );
        Genuine { directory, sessions, made: made.expect("the role trusts everybody") }
    })
}

/// The target's body: a mode, then damage to the genuine token, or a text.
pub fn run(data: &[u8]) {
    let Genuine { directory, sessions, made } = genuine();
    let mut input = Input::new(data);
    let (mut id, mut now) = (made.access_key_id.clone(), NOW);
    let mut token = made.token.clone().into_bytes();
    match input.u8() % 4 {
        0 => input.damage(&mut token),
        1 => token = input.all().to_vec(),
        2 => id = input.text(),
        _ => now = UnixMillis(NOW.0.wrapping_add(input.u64())),
    }
    let Ok(token) = std::str::from_utf8(&token) else { return };
    let budget = (256 << 10) + 4 * token.len();
    let opened = bounded(budget, || sessions.open(directory, token, &id, now));
    let is_genuine = token == made.token && id == made.access_key_id;
    match opened {
        Ok(session) => {
            assert!(is_genuine && now < made.expires);
            assert_eq!(session.secret, made.secret);
        }
        Err(TokenError::Expired) => assert!(is_genuine && now >= made.expires),
        Err(TokenError::Invalid) => assert!(!is_genuine, "the sound token was refused"),
    }
}
