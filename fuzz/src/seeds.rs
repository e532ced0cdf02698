//! The seed corpora: for each target a few inputs that reach its deep paths, made from real
//! structures, so that they follow the formats when those change.

use sealvol_core::VolumeId;
use sealvol_format::{
    Birth, COMMIT_SEALED_MAX, CommitBody, CommitTrailer, Cursor, Entry, Geometry, Page, Phys,
    Record, RecordKind, SLOT_LEN, SegmentHeader, SegmentIndex, SegmentKind, StoredKey, Successor,
    Suite, Superblock, SuperblockState, TableEntry, TablePage, VolumeState, encode_trailer,
};
use sealvol_nbd::proto::wire::{OPTION_MAGIC, REQUEST_MAGIC, command, command_flag, option};

use crate::kms_http_body;
use crate::kms_store::genuine;
use crate::sigv4_request;
use crate::toy_kms::toy_kms;

/// One seed.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The target it is for.
    pub target: &'static str,
    /// What it shows.
    pub name: &'static str,
    /// The input.
    pub bytes: Vec<u8>,
}

impl Seed {
    /// Its name in the target's folder.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("seed-{}", self.name)
    }
}

/// Every seed.
#[must_use]
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name, bytes| seeds.push(Seed { target, name, bytes });
    formats(&mut add);
    contexts(&mut add);
    handshakes(&mut add);
    requests(&mut add);
    kms(&mut add);
    endpoint(&mut add);
    wire(&mut add);
    policies(&mut add);
    identities(&mut add);
    volumes(&mut add);
    seeds
}

type Add<'a> = dyn FnMut(&'static str, &'static str, Vec<u8>) + 'a;

fn key(len: usize) -> StoredKey {
    StoredKey {
        id: 1,
        lineage: [4; 16],
        commitment: [5; 32],
        key_arn: "arn:aws:kms:us-east-1:000000000000:key/x".into(),
        context: vec![0, 0, 0, 1, b'a', 0, 0, 0, 1, b'b'],
        blob: vec![7; len],
    }
}

fn record(kind: RecordKind, lba: u64, payload: u8) -> Record {
    Record { lba, payload, old: Phys(600), birth: Birth(3), tag: [9; 16], ..Record::bare(kind) }
}

fn formats(add: &mut Add<'_>) {
    let entry = Entry::data(Phys(700), Birth(2), 77, [8; 16]);
    let mut block = Superblock {
        suite: Suite::Aes256Gcm,
        volume_state: VolumeState::Keyed,
        volume: VolumeId([3; 16]),
        logical_blocks: 1000,
        geometry: Geometry::DEFAULT,
        keys: vec![key(184)],
        state: SuperblockState {
            generation: 9,
            open_epoch: 2,
            segments: 5,
            segment_limit: 50,
            root: entry,
            table: entry.with_has_dead(true),
            cursors: [Cursor { segment: SegmentIndex(1), seq: 1 << 32, slot: 7 }; 3],
            ..SuperblockState::default()
        },
    };
    let mut superblock = |name, block: &Superblock| {
        let body = block.encode().expect("seeds are within limits");
        let len = body.len() + 32;
        let mut sealed = Superblock::seal(body, &[6; 32]);
        sealed.truncate(len);
        add("superblock", name, sealed);
    };
    superblock("keyed", &block);
    block.keys.push(StoredKey { id: 2, context: Vec::new(), ..key(20) });
    superblock("two-keys", &block);
    block.volume_state = VolumeState::Blank;
    superblock("blank", &block);

    let header = SegmentHeader {
        suite: Suite::Aes256Gcm,
        kind: SegmentKind::Gc,
        segment: SegmentIndex(5),
        seq: (2 << 32) | 9,
        salt: [1; 32],
        key_id: 1,
        generation: 4,
        successor: Successor { segment: SegmentIndex(6), seq: (2 << 32) | 10 },
    };
    add("segment_header", "gc", header.encode()[..128].to_vec());

    let kinds = [
        record(RecordKind::Data, 1, 1),
        record(RecordKind::Zero, 2, 0),
        Record::range(3, 500, Birth(3)),
        record(RecordKind::Move, 4, 2),
        record(RecordKind::Fill, 5, 3),
        record(RecordKind::Map, 6, 4),
        record(RecordKind::Table, 7, 5),
        Record::bare(RecordKind::Snap),
        Record::bare(RecordKind::Void),
        Record::bare(RecordKind::Stamp),
    ];
    let mut commit = |name, records: Vec<Record>, payload_slots| {
        let body = CommitBody {
            seq: 42,
            previous: [1; 16],
            durable_upto: 41,
            payload_nonce: 99,
            payload_slots,
            records,
        };
        let (mut sealed, mut slot) = ([0; COMMIT_SEALED_MAX], [0; SLOT_LEN]);
        let len = body.encode(&mut sealed);
        slot[..len].copy_from_slice(&sealed[..len]);
        let trailer = CommitTrailer { sealed_len: len as u16, nonce: 5, tag: [6; 16] };
        encode_trailer(&mut slot, &trailer);
        add("commit_slot", name, slot.to_vec());
    };
    commit("every-kind", kinds.to_vec(), 5);
    commit("empty", Vec::new(), 0);
    commit("full", (1..=125).map(|n| record(RecordKind::Data, n.into(), n)).collect(), 125);
    for (record, name) in kinds
        .iter()
        .zip(["data", "zero", "range", "move", "fill", "map", "table", "snap", "void", "stamp"])
    {
        add("record", name, record.encode().to_vec());
    }

    let mut page = Page::filled(entry);
    page.set(1, Entry::zero(Birth(9)));
    page.set(2, entry.into_dead(Birth(5)));
    add("map_page", "map", page.as_bytes()[..160].to_vec());
    let mut table = TablePage::empty();
    table.entries[1] = TableEntry {
        seq: 1 << 32,
        salt: [5; 32],
        key_id: 1,
        kind: 2,
        generation: 7,
        live: 3,
        used: 9,
    };
    add("map_page", "table", table.encode()[..192].to_vec());
}

fn contexts(add: &mut Add<'_>) {
    add("context", "volume", toy_kms().context.canonical());
    let task = sealvol_envelope::EncryptionContext::from_pairs([
        ("aws:ecs:clusterAccount", "000000000000"),
        ("aws:ecs:clusterName", "default"),
        ("aws:ebs:id", "vol-0123456789abcdef0"),
    ]);
    add("context", "task", task.expect("is short").canonical());
    add("context", "pairs", b"\x01b\x011\x01a\x012\x02ab\x00".to_vec());
}

/// One option of a handshake.
fn option_bytes(number: u32, data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u32).to_be_bytes();
    [&OPTION_MAGIC.to_be_bytes()[..], &number.to_be_bytes(), &len, data].concat()
}

fn handshakes(add: &mut Add<'_>) {
    let volume = b"vol-0123456789abcdef0";
    let named = |rest: &[u8]| [&21_u32.to_be_bytes()[..], volume, rest].concat();
    let mut queries = vec![0, 0, 0, 2, 0, 0, 0, 5];
    queries.extend_from_slice(b"base:\0\0\0\x0fbase:allocation");
    let info = named(&[0, 3, 0, 1, 0, 2, 0, 3]);
    let start = |flags: u8, client: u8| vec![flags, 6, 0, 0, 0, client];
    let modern = [
        start(0, 3),
        option_bytes(option::LIST, b""),
        option_bytes(option::STARTTLS, b""),
        option_bytes(option::STRUCTURED_REPLY, b""),
        option_bytes(option::LIST_META_CONTEXT, &named(&queries)),
        option_bytes(option::SET_META_CONTEXT, &named(&queries)),
        option_bytes(option::INFO, &info),
        option_bytes(option::GO, &info),
    ];
    add("nbd_handshake", "modern", modern.concat());
    let export_name = option_bytes(option::EXPORT_NAME, volume);
    add("nbd_handshake", "export-name", [start(1, 0), export_name.clone()].concat());
    add("nbd_handshake", "shutting-down", [start(2, 3), option_bytes(6, &info)].concat());
    let oversize = [start(4, 3), option_bytes(9, &[0; 90]), option_bytes(option::ABORT, b"")];
    add("nbd_handshake", "oversize-then-abort", oversize.concat());
}

fn request(flags: u16, command: u16, offset: u64, len: u32) -> Vec<u8> {
    [
        &REQUEST_MAGIC.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &command.to_be_bytes(),
        &(offset ^ 0x1234_5678_0000).to_be_bytes(),
        &offset.to_be_bytes(),
        &len.to_be_bytes(),
    ]
    .concat()
}

fn requests(add: &mut Add<'_>) {
    let write = |len: u32| {
        let payload = vec![0xc3; len as usize];
        [request(command_flag::FUA, command::WRITE, 4096, len), payload].concat()
    };
    let every = [
        request(command_flag::DF, command::READ, 0, 4096),
        write(1024),
        request(0, command::FLUSH, 0, 0),
        request(0, command::TRIM, 512, 8192),
        request(0, command::CACHE, 0, 512),
        request(command_flag::NO_HOLE, command::WRITE_ZEROES, 0, 65536),
        request(command_flag::REQ_ONE, command::BLOCK_STATUS, 0, 1 << 20),
        request(0, command::DISC, 0, 0),
    ]
    .concat();
    // Sessions: 1 MiB export, structured replies and block status; pieces of 512 bytes.
    add("nbd_requests", "every-command", [vec![0x56, 30], every.clone()].concat());
    add("nbd_requests", "read-only", [vec![0x57, 255], every].concat());
    let refused = [
        request(0, command::WRITE, u64::MAX - 511, 512),
        vec![1; 512],
        request(0, 77, 0, 0),
        request(0xffff, command::READ, 1, 3),
        request(0, command::WRITE, 0, u32::MAX),
    ];
    add("nbd_requests", "refused", [vec![0x96, 99], refused.concat()].concat());
}

fn kms(add: &mut Add<'_>) {
    let (toy, genuine) = (toy_kms(), genuine());
    let mode = |mode: u8, bytes: &[u8]| [&[mode], bytes].concat();
    add("kms_blob", "genuine", mode(0, &toy.blob));
    add("kms_blob", "fixed-header", mode(1, &toy.blob));
    add("kms_blob", "damaged", mode(2, b"\0\x60\0\0\x01"));
    add("kms_blob", "context", mode(3, &toy.context.canonical()));
    add("kms_token", "genuine", mode(0, toy.token.as_bytes()));
    add("kms_token", "damaged", mode(1, b"\0\x10\0\0\x01"));
    add("kms_store", "genuine", mode(0, &genuine.store));
    add("kms_store", "fixed-header", mode(1, &genuine.store[..400]));
    add("kms_store", "flipped", mode(2, b"\0\0\x02\0\x01"));
    add("kms_store", "cut", mode(2, b"\x03\x80\x05\0"));
    add("kms_store", "cut-acknowledged", mode(3, b"\x03\x80\x05\0"));
    let id = "0a0a0a0a-1b1b-4c2c-8d3d-4e4e4e4e4e4e";
    let (material, secret, grant_id) = ("1".repeat(64), "2".repeat(64), "3".repeat(64));
    let record = format!(
        r#"{{"id":"{id}","description":"d","status":"enabled","created":1,"current":"{material}","materials":[{{"id":"{material}","created":1,"secret":"{secret}"}}]}}"#
    );
    let alias = format!(r#"{{"name":"alias/a","target":"{id}","created":1,"updated":2}}"#);
    let grant = format!(
        r#"{{"id":"{grant_id}","created":1,"issuer":"i","terms":{{"grantee":"g","operations":["Decrypt"],"constraint":{{"subset":{{"aws:ebs:id":"vol-1"}}}},"name":"n"}}}}"#
    );
    let snapshot = format!(
        r#"{{"token_secret":"{secret}","keys":[{record}],"aliases":[{alias}],"grants":[["{id}",{grant}]]}}"#
    );
    debug_assert!(sealvol_kms::codec::check_snapshot_body(snapshot.as_bytes()).is_ok());
    add("kms_store", "snapshot", mode(4, snapshot.as_bytes()));
    let changes = [
        ("key-created", format!(r#"{{"key_created":{record}}}"#)),
        ("key-with-alias", format!(r#"{{"key_created_with_alias":[{record},{alias}]}}"#)),
        (
            "key-deleted",
            format!(
                r#"{{"key_status_set":{{"key":"{id}","status":{{"pending_deletion":{{"delete_at":9}}}}}}}}"#
            ),
        ),
        ("grant-created", format!(r#"{{"grant_created":{{"key":"{id}","grant":{grant}}}}}"#)),
        ("grant-removed", format!(r#"{{"grant_removed":{{"key":"{id}","grant":"{grant_id}"}}}}"#)),
    ];
    for (name, change) in changes {
        debug_assert!(sealvol_kms::codec::check_change_body(change.as_bytes()).is_ok());
        add("kms_store", name, mode(5, change.as_bytes()));
    }
    add("kms_store", "acknowledged", mode(6, b"\0\x10\0\0\0"));
    add("kms_store", "root-key", mode(7, b"\0\x10\0\0\0"));
}

fn endpoint(add: &mut Add<'_>) {
    use sealvol_kms::Operation as O;
    let key = format!(r#""KeyId":"{}""#, kms_http_body::ALIAS);
    let context = r#""EncryptionContext":{"aws:ebs:id":"vol-1"}"#;
    let lines = |lines: &[(O, String)]| -> Vec<u8> {
        lines.iter().flat_map(|(o, body)| kms_http_body::request(*o, body)).collect()
    };
    let every: Vec<_> = O::ALL.iter().map(|o| (*o, format!("{{{key}}}"))).collect();
    for (name, half) in ["first", "second", "third"].into_iter().zip(every.chunks(16)) {
        add("kms_http_body", name, lines(half));
    }
    let crypto = [
        (O::DescribeKey, format!("{{{key}}}")),
        (O::Encrypt, format!(r#"{{{key},"Plaintext":"QUJD",{context}}}"#)),
        (O::GenerateDataKey, format!(r#"{{{key},"KeySpec":"AES_256",{context}}}"#)),
        (O::GenerateRandom, r#"{"NumberOfBytes":64}"#.to_owned()),
        (O::Decrypt, format!(r#"{{"CiphertextBlob":"AQID",{context},"Recipient":[[{{}}]]}}"#)),
    ];
    add("kms_http_body", "crypto", lines(&crypto));
    let manage = [
        (O::CreateKey, r#"{"Description":"d","Tags":[{"TagKey":"k","TagValue":"v"}]}"#.to_owned()),
        (O::ListKeys, r#"{"Limit":1,"Marker":"x"}"#.to_owned()),
        (O::ListKeys, r#"{"Limit":1}"#.to_owned()),
        (O::ListAliases, "{}".to_owned()),
        (
            O::ListRetirableGrants,
            r#"{"RetiringPrincipal":"fargate.us-east-1.amazonaws.com"}"#.to_owned(),
        ),
        (O::CreateAlias, r#"{"AliasName":"alias/b","TargetKeyId":"alias/fuzz"}"#.to_owned()),
        (O::DeleteAlias, r#"{"AliasName":"alias/fuzz"}"#.to_owned()),
    ];
    add("kms_http_body", "manage", lines(&manage));
}

fn wire(add: &mut Add<'_>) {
    let mode = |mode: u8, bytes: &[u8]| [&[mode], bytes].concat();
    add("sigv4_request", "genuine", mode(0, sigv4_request::genuine().as_bytes()));
    let claims = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1\
                  %2Fkms%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&\
                  X-Amz-SignedHeaders=host&X-Amz-Signature=";
    let presigned = format!("GET /?{claims}{}\nhost:h\n\n", "0".repeat(64));
    add("sigv4_request", "presigned", mode(0, presigned.as_bytes()));
    let signed = b"\x0a/a/../b%20\x0db=2&a=1+%2b&c\x02\x05x-abc\x07 a   b \x05x-abc\x01cbody";
    add("sigv4_request", "to-sign", mode(1, signed));

    let every = r#"{"KeyId":"alias/a","Limit":5,"NumberOfBytes":64,"DryRun":true,"GrantTokens":["t"],
        "EncryptionContext":{"aws:ebs:id":"vol-1"},"Tags":[{"TagKey":"k","TagValue":"v"}],
        "CiphertextBlob":"AQID","Plaintext":"+/8=","Until":1440938160.5,"Unknown":[{"a":[null]}]}"#;
    add("json_body", "every-type", every.into());
    let wrong = r#"{"KeyId":5,"Limit":"1","Tags":{},"Plaintext":"c2VjcmV0!"}"#;
    add("json_body", "wrong-types", wrong.into());
    add("json_body", "nested", [&b"{\"Unknown\":"[..], &[b'['; 200]].concat());

    let sts = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fr\
               &Tags.member.1.Key=k&Tags.member.1.Value=%3Cv%3E&Tags.member.2.Key=&PolicyArns.member.1.arn=p";
    add("query_form", "sts", sts.into());
    let ec2 = "Action=DescribeVolumes&Filter.1.Name=tag%3Aa&Filter.1.Value.1=x+y&VolumeId.10=v&VolumeId.2=";
    add("query_form", "ec2", ec2.into());
    add("query_form", "escapes", "a=%&%41=%c3%a9&b=%0d%00&A=%zz&&=".into());
}

/// A text after its length byte.
fn counted(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).expect("seeds' texts are short");
    [&[len][..], text.as_bytes()].concat()
}

fn policies(add: &mut Add<'_>) {
    let mut policy = |name, kind: u8, caller: u8, action, key, value, text: &str| {
        let resource = "arn:aws:kms:us-east-1:111122223333:key/k";
        let fields = [action, resource, key, value].map(counted).concat();
        add("policy_document", name, [&[kind, caller][..], &fields, text.as_bytes()].concat());
    };
    let root = r#"{"Version":"2012-10-17","Id":"k","Statement":[{"Sid":"Enable IAM","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},{"Effect":"Deny","NotPrincipal":{"AWS":["111122223333","arn:aws:iam::111122223333:role/worker"],"Service":"fargate.amazonaws.com"},"NotAction":["kms:Describe*","kms:?etKeyPolicy"],"NotResource":["arn:aws:kms:*:*:key/x"]}]}"#;
    policy("delegation", 0, 0, "kms:Decrypt", "aws:x", "1", root);
    policy("delegation-session", 0, 1, "kms:DescribeKey", "aws:x", "1", root);
    let fargate = r#"{"Statement":[{"Effect":"Allow","Principal":{"Service":"fargate.amazonaws.com"},"Action":["kms:CreateGrant"],"Condition":{"StringEquals":{"kms:EncryptionContext:aws:ecs:clusterName":["c"]},"ForAllValues:StringEquals":{"kms:GrantOperations":["Decrypt"]}},"Resource":["*"]}]}"#;
    let cluster = "kms:EncryptionContext:aws:ecs:clusterName";
    policy("fargate", 0, 5, "kms:CreateGrant", cluster, "c", fargate);
    let conditions = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:kms:*:${aws:PrincipalAccount}:key/${aws:username, 'k'}","Condition":{"ForAnyValue:StringLike":{"kms:EncryptionContextKeys":"a?c*"},"NumericLessThanEqualsIfExists":{"aws:n":[1,-2.5]},"DateGreaterThan":{"aws:CurrentTime":"2026-01-02T03:04:05.6+01:00"},"IpAddress":{"aws:SourceIp":["10.0.0.0/8","2001:db8::/32"]},"ArnNotLike":{"aws:SourceArn":"arn:*:s3:::${*}?"},"BinaryEquals":{"aws:b":"QUJD"},"Null":{"aws:z":true},"BoolIfExists":{"aws:SecureTransport":"true"},"StringNotEqualsIgnoreCase":{"aws:PrincipalTag/Team":"B"}}}}"#;
    policy("conditions", 1, 0, "kms:Decrypt", "aws:CurrentTime", "1790000000", conditions);
    policy("conditions-cased", 1, 2, "KMS:dECRYPT", "AWS:SourceIp", "10.1.2.3", conditions);
    let trust = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x"}}}}"#;
    policy("trust", 2, 3, "sts:AssumeRole", "sts:ExternalId", "x", trust);
}

fn identities(add: &mut Add<'_>) {
    let config = crate::iam_config::SAMPLE;
    add("iam_config", "sample", config.as_bytes().to_vec());
    add("iam_config", "empty", Vec::new());
    add("iam_config", "first-account", config.as_bytes()[..config.len() / 3].to_vec());
    add("session_token", "genuine", vec![0]);
    add("session_token", "flipped", b"\0\0\x40\0\0\x01".to_vec());
    add("session_token", "cut", b"\0\x03\x40\0\0".to_vec());
    add("session_token", "text", b"\x01AAAA".to_vec());
    add("session_token", "other-key", vec![2]);
    add("session_token", "later", vec![3]);
}

fn volumes(add: &mut Add<'_>) {
    // Shape: 199 blocks, 16 slots, 130 percent. See `volume_ops::next_op` for the codes.
    let shape = [198, 0, 0, 1];
    let ops = |ops: &[&[u8]]| [&shape[..], &ops.concat()].concat();
    let mixed: [&[u8]; 15] = [
        &[0, 0, 0, 25],     // write
        &[1, 200, 0, 255],  // write
        &[6, 9, 0, 11],     // batch
        &[128, 3, 0, 5],    // write parts of blocks
        &[10],              // flush
        &[12],              // checkpoint
        &[7, 16, 0, 40, 0], // discard
        &[9, 0, 0, 9],      // zero
        &[13],              // collect
        &[15, 5],           // maintain
        &[17],              // crash
        &[18, 0, 0, 99],    // read
        &[16],              // reopen
        &[0, 0, 0, 255],    // write
        &[19],              // verify
    ];
    add("volume_ops", "mixed", ops(&mixed));
    let rewrites: Vec<u8> =
        (0..180_u8).flat_map(|n| [n % 5, n.wrapping_mul(37), n % 6, 31]).collect();
    add("volume_ops", "overwritten-often", ops(&[&rewrites, &[13, 14, 12, 16, 19]]));
    let discards: Vec<u8> =
        (0..30_u8).flat_map(|n| [0, n, n % 6, 255, 7, n, n % 6, n, 0, 12, 17]).collect();
    add("volume_ops", "discards-and-crashes", ops(&[&discards]));

    // Which image, how to open it, then damage: see `volume_image::damage` for the codes.
    let image = |which: u8, flags: u8, edits: &[u8]| [&[which, flags][..], edits].concat();
    add("volume_image", "blank", image(0, 0, b""));
    add("volume_image", "blank-edited", image(0, 1, b"\x00\x20\0\0\x03"));
    add("volume_image", "closed", image(1, 0, b""));
    add("volume_image", "closed-superblock", image(1, 0, b"\x00\x40\0\0\x01"));
    add(
        "volume_image",
        "closed-both-superblocks",
        image(1, 0, b"\x00\x40\0\0\x01\x00\x40\x10\0\x01"),
    );
    add("volume_image", "closed-moved-slots", image(1, 0, b"\x02\0\x50\x02\0\x60\x01\x03"));
    add("volume_image", "closed-zeroed", image(1, 2, b"\x03\0\x30\0\x05"));
    add("volume_image", "crashed", image(2, 0, b""));
    add("volume_image", "crashed-flip", image(2, 0, b"\x00\0\x31\0\x01"));
    add("volume_image", "crashed-accept", image(2, 2, b"\x03\0\x60\0\x01"));
    add("volume_image", "crashed-cut", image(2, 0, b"\x04\0\0\x04"));
}
