//! The embedded KMS's files: header, store, acknowledgement, root key, and the JSON inside. A damaged
//! store is refused, or read up to where a crash could have cut it, and never past or otherwise.

use std::sync::{Arc, OnceLock};

use sealvol_envelope::{CreateGrantRequest, GrantConstraint, GrantOperation, GrantTokens};
use sealvol_kms::codec::{
    Acknowledged, HEADER_LEN, RootKey, StoreHeader, StoreImage, check_change_body,
    check_snapshot_body, decode_root_key_file, decode_store,
};
use sealvol_kms::{Kms, KmsSettings, RootKeySource};
use sealvol_testkit::{SeededEntropy, SimClock};
use sha2::{Digest, Sha256};

use crate::input::Input;
use crate::memory::bounded;
use crate::toy_kms::now;

/// Where the header's digest begins, and the root key's commitment before it.
const DIGEST_AT: usize = HEADER_LEN - 32;
const COMMITMENT_AT: usize = DIGEST_AT - 32;

/// The files of a store with some history, the same in every run.
pub(crate) struct Genuine {
    pub(crate) store: Vec<u8>,
    pub(crate) root_key: Vec<u8>,
    pub(crate) acknowledged: Vec<u8>,
    key: RootKey,
    note: Acknowledged,
    header: StoreHeader,
    record_ends: Vec<u64>,
}

/// The files.
pub(crate) fn genuine() -> &'static Genuine {
    static GENUINE: OnceLock<Genuine> = OnceLock::new();
    GENUINE.get_or_init(make)
}

fn make() -> Genuine {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (clock, entropy) = (Arc::new(SimClock::new()), Arc::new(SeededEntropy::new(11)));
    let settings = KmsSettings::default();
    let kms = Kms::open_dir(dir.path(), &RootKeySource::KeyFile, settings, clock, entropy)
        .expect("a new store opens");
    history(&kms).expect("the embedded KMS works");
    let read = |name: &str| std::fs::read(dir.path().join(name)).expect("the store's files exist");
    let (store, root_key) = (read("store"), read("root.key"));
    let acknowledged = read("acknowledged");
    let key = decode_root_key_file(&root_key).expect("the root key reads back");
    let note = Acknowledged::decode(&acknowledged).expect("the note reads back");
    let image = decode_store(&store, &key, Some(&note)).expect("the store reads back");
    let (header, record_ends) = (image.header, image.record_ends);
    Genuine { store, root_key, acknowledged, key, note, header, record_ends }
}

fn history(kms: &Arc<Kms>) -> Result<(), sealvol_envelope::KmsError> {
    let me = kms.root_caller();
    let first = kms.ensure_key(&me, "alias/fuzz", "first")?.arn;
    let second = kms.create_key(&me, "second")?.arn;
    kms.disable_key(&me, &second)?;
    kms.create_alias(&me, "alias/second", &second)?;
    let context = sealvol_envelope::EncryptionContext::for_volume("vol-1").expect("is short");
    now(kms.handle(me).create_grant(CreateGrantRequest {
        key_id: first,
        grantee_principal: "arn:aws:iam::000000000000:user/fuzz".to_owned(),
        retiring_principal: Some("arn:aws:iam::000000000000:user/other".to_owned()),
        operations: vec![GrantOperation::Decrypt, GrantOperation::RetireGrant],
        constraint: Some(GrantConstraint::EncryptionContextSubset(context)),
        name: Some("named".to_owned()),
        grant_tokens: GrantTokens::default(),
    }))
    .map(drop)
}

/// The target's body: a mode, then what the mode says.
pub fn run(data: &[u8]) {
    let genuine = genuine();
    let mut input = Input::new(data);
    let mode = input.u8();
    let budget = (1 << 20) + 256 * data.len();
    match mode % 8 {
        0 => any_store(input.all(), budget),
        1 => {
            let mut store = input.all().to_vec();
            fix_header(&mut store);
            any_store(&store, budget);
        }
        2 => damaged_store(input, None, budget),
        3 => damaged_store(input, Some(&genuine.note), budget),
        4 => drop(bounded(budget, || check_snapshot_body(input.all()))),
        5 => drop(bounded(budget, || check_change_body(input.all()))),
        6 => {
            let mut note = genuine.acknowledged.clone();
            input.damage(&mut note);
            if let Some(read) = Acknowledged::decode(&note) {
                assert_eq!(read.encode().as_slice(), note, "a second form of a note");
            }
        }
        _ => {
            let mut file = genuine.root_key.clone();
            input.damage(&mut file);
            let read = bounded(budget, || decode_root_key_file(&file));
            assert_eq!(read.is_some(), file == genuine.root_key);
        }
    }
}

/// Anybody's bytes: they may have a sound header, but nothing behind it is sealed under our key.
fn any_store(store: &[u8], budget: usize) {
    let genuine = genuine();
    if let Ok(header) = StoreHeader::decode(store) {
        let again = StoreHeader::decode(&header.encode());
        assert!(again.is_ok_and(|again| again == header), "a header does not read back");
    }
    let image = bounded(budget, || decode_store(store, &genuine.key, None));
    assert!(image.is_err() || is_genuine(&image), "a forged store was taken");
}

/// Our own bytes, damaged.
fn damaged_store(mut input: Input<'_>, note: Option<&Acknowledged>, budget: usize) {
    let genuine = genuine();
    let mut store = genuine.store.clone();
    input.damage(&mut store);
    let image = bounded(budget + 8 * store.len(), || decode_store(&store, &genuine.key, note));
    let Ok(image) = image else {
        assert!(store != genuine.store, "the sound store was refused");
        return;
    };
    assert_eq!(image.header, genuine.header, "a changed header was taken");
    let seen = image.record_ends.len();
    assert_eq!(genuine.record_ends.get(..seen), Some(image.record_ends.as_slice()));
    if note.is_some() {
        assert_eq!(seen, genuine.record_ends.len(), "acknowledged records are gone in silence");
    }
    assert_eq!(store[..image.end as usize], genuine.store[..image.end as usize]);
    assert_eq!(image.end + image.torn, store.len() as u64);
}

fn is_genuine<E>(image: &Result<StoreImage, E>) -> bool {
    image.as_ref().is_ok_and(|image| image.header == genuine().header)
}

/// Gives a store a header that passes for one under our root key.
fn fix_header(store: &mut [u8]) {
    let Some(header) = store.first_chunk_mut::<HEADER_LEN>() else { return };
    header[..12].copy_from_slice(b"SVKMSST\0\0\0\0\x01");
    header[COMMITMENT_AT..DIGEST_AT].copy_from_slice(&genuine().header.commitment);
    let digest: [u8; 32] = Sha256::digest(&header[..DIGEST_AT]).into();
    header[DIGEST_AT..].copy_from_slice(&digest);
}
