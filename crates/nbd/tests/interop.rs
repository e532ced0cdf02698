//! Goal: the clients that people use work against this server. Method: an in-process server on a
//! Unix socket over a memory device, and the real tools of libnbd, QEMU and fio.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

#[expect(dead_code, reason = "each test binary uses a part")]
#[path = "support/device.rs"]
mod device;
#[path = "support/harness.rs"]
mod harness;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use harness::{Harness, eventually, sparse_pattern, tool};
use sealvol_core::{BlockDevice, ByteLen, MemoryDevice, WriteFlags};
use sealvol_nbd::{Command, Export};

const LIBNBD: &str = "libnbd-bin";
const QEMU: &str = "qemu-utils";
const LEN: ByteLen = ByteLen::mib(32);

fn filled() -> (Harness, Vec<u8>) {
    let harness = Harness::new(LEN);
    let image = sparse_pattern(usize::try_from(LEN.0).unwrap());
    harness.device.write(0, &image, WriteFlags::default()).unwrap();
    (harness, image)
}

#[test]
fn nbdinfo_shows_the_export() {
    let harness = Harness::new(LEN);
    let info = tool(LIBNBD, "nbdinfo", &["--json", &harness.uri()]);
    for line in [
        r#""protocol": "newstyle-fixed""#,
        r#""structured": true"#,
        r#""export-size": 33554432"#,
        r#""description": "a test""#,
        r#""base:allocation""#,
        r#""is_read_only": false"#,
        r#""can_multi_conn": true"#,
        r#""can_cache": true"#,
        r#""can_df": true"#,
        r#""can_fast_zero": true"#,
        r#""can_flush": true"#,
        r#""can_fua": true"#,
        r#""can_trim": true"#,
        r#""can_zero": true"#,
        r#""block_size_minimum": 512"#,
        r#""block_size_preferred": 4096"#,
        r#""block_size_maximum": 33554432"#,
    ] {
        assert!(info.contains(line), "{line} is missing in {info}");
    }
    harness.device.read_only.store(true, SeqCst);
    let info = tool(LIBNBD, "nbdinfo", &["--json", &harness.uri()]);
    assert!(info.contains(r#""is_read_only": true"#) && info.contains(r#""can_trim": false"#));
}

#[test]
fn nbdinfo_lists_exports() {
    let harness = Harness::new(LEN);
    let other: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::new(ByteLen::mib(1)).unwrap());
    harness.server.exports().add(Export::new("vol-1", other)).unwrap();
    let list = tool(LIBNBD, "nbdinfo", &["--list", "--json", &harness.uri()]);
    assert!(list.contains(r#""export-name": """#), "{list}");
    assert!(list.contains(r#""export-name": "vol-1""#), "{list}");
    assert!(list.contains(r#""export-size": 1048576"#), "{list}");
}

#[test]
fn nbdinfo_maps_holes() {
    let (harness, _) = filled();
    let map = tool(LIBNBD, "nbdinfo", &["--map", &harness.uri()]);
    let rows: Vec<Vec<&str>> =
        map.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    // Data and holes of 128 KiB, as the pattern has them; runs of equal kind are one row.
    assert_eq!(rows.first().unwrap(), &["0", "131072", "0"], "{map}");
    assert_eq!(rows.get(1).unwrap(), &["131072", "131072", "3"], "{map}");
    assert_eq!(rows.get(2).unwrap(), &["262144", "393216", "0"], "{map}");
    assert_eq!(rows.len(), 129, "{map}");
}

#[test]
fn nbdcopy_there_and_back() {
    let image = sparse_pattern(usize::try_from(LEN.0).unwrap());
    let harness = Harness::new(LEN);
    std::fs::write(harness.file("in"), &image).unwrap();
    tool(LIBNBD, "nbdcopy", &["--flush", &harness.file("in"), &harness.uri()]);
    assert!(harness.device.contents() == image, "the device differs from the image");
    assert!(harness.device.flushes.load(SeqCst) > 0, "--flush flushes");

    tool(LIBNBD, "nbdcopy", &[&harness.uri(), &harness.file("out")]);
    assert!(std::fs::read(harness.file("out")).unwrap() == image, "the copy differs");
    // Without asking for the map, holes come as chunks of the reads.
    let args = ["--allocated", "--request-size=1048576", &harness.uri(), &harness.file("out2")];
    tool(LIBNBD, "nbdcopy", &args);
    assert!(std::fs::read(harness.file("out2")).unwrap() == image, "the copy differs");
    let stats = harness.server.stats();
    assert!(stats.connections_accepted > 3, "nbdcopy uses several connections: {stats:?}");
    assert_eq!(stats.command(Command::Rejected).errors, 0);
}

#[test]
fn qemu_img_converts_and_compares() {
    let image = sparse_pattern(usize::try_from(LEN.0).unwrap());
    let harness = Harness::new(LEN);
    let (source, target) = (harness.file("in"), harness.file("out"));
    let uri = harness.uri();
    std::fs::write(&source, &image).unwrap();
    let args = ["convert", "-n", "-f", "raw", "-O", "raw", &source, &uri];
    tool(QEMU, "qemu-img", &args);
    assert!(harness.device.contents() == image, "the device differs from the image");
    tool(QEMU, "qemu-img", &["compare", "-f", "raw", "-F", "raw", &source, &uri]);
    tool(QEMU, "qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &uri, &target]);
    tool(QEMU, "qemu-img", &["compare", "-f", "raw", "-F", "qcow2", &uri, &target]);
    assert_eq!(harness.server.stats().command(Command::Rejected).errors, 0);
}

#[test]
fn qemu_io_does_all_commands() {
    let harness = Harness::new(LEN);
    let uri = harness.uri();
    let qemu_io = |commands: &[&str]| {
        let mut args = vec!["-f", "raw", "-d", "unmap", "-t", "writeback"];
        for command in commands {
            args.extend(["-c", command]);
        }
        args.push(&uri);
        let output = tool(QEMU, "qemu-io", &args);
        assert!(!output.contains("Pattern verification failed"), "{output}");
        assert!(!output.contains("failed:"), "{output}");
    };
    qemu_io(&["write -P 1 0 1M", "read -P 1 0 1M"]);
    // QEMU learns the minimum of 512 and does the read-modify-write itself.
    qemu_io(&[
        "write -P 2 1000 3000",
        "read -P 1 0 1000",
        "read -P 2 1000 3000",
        "read -P 1 4000 96",
    ]);
    assert_eq!(harness.device.fua.load(SeqCst), 0);
    qemu_io(&["write -f -P 3 8k 4k", "read -P 3 8k 4k"]);
    assert!(harness.device.fua.load(SeqCst) > 0, "write -f sets FUA");
    qemu_io(&["write -z 0 64k", "read -P 0 0 64k"]);
    assert!(harness.device.keep_allocated.load(SeqCst) > 0, "write -z forbids holes");
    qemu_io(&["write -z -u 64k 64k", "read -P 0 64k 64k", "read -P 1 128k 64k"]);
    qemu_io(&["discard 128k 128k", "read -P 0 128k 128k", "flush"]);
    assert!(harness.device.discards.load(SeqCst) > 0);
    assert!(harness.device.flushes.load(SeqCst) > 0);
    qemu_io(&["aio_write -P 7 1M 2M", "aio_write -P 8 3M 64k", "aio_flush", "read -P 7 1M 2M"]);
    qemu_io(&["alloc 0 1M", "map"]);
    assert_eq!(harness.server.stats().command(Command::Rejected).errors, 0);
}

#[test]
fn fio_verifies_random_writes_and_trims() {
    let harness = Harness::new(LEN);
    let uri = format!("--uri={}", harness.uri());
    let base = ["--name=job", "--ioengine=nbd", &uri, "--size=32M", "--iodepth=32"];
    let run = |more: &[&str]| {
        tool("fio", "fio", &[&base[..], more].concat());
    };
    let verify = ["--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--randrepeat=1"];
    run(&[&["--rw=randwrite", "--bsrange=4k-256k", "--fsync=32"][..], &verify].concat());
    run(&[&["--rw=randwrite", "--bs=4k"][..], &verify].concat());
    run(&["--rw=randtrim", "--bs=64k"]);
    assert!(harness.device.contents().iter().all(|byte| *byte == 0), "all was trimmed");
    assert!(harness.device.largest_batch.load(SeqCst) > 1, "queued writes are batched");
}

#[test]
fn cold_and_misordered_replies_suit_real_clients() {
    let (harness, image) = filled();
    // The first half is cold, so that replies come from workers and from the connection's thread.
    harness.device.cold_below.store(LEN.0 / 2, SeqCst);
    for (name, size) in [("a", "--request-size=4096"), ("b", "--request-size=2097152")] {
        let args = ["--allocated", size, &harness.uri(), &harness.file(name)];
        tool(LIBNBD, "nbdcopy", &args);
        assert!(std::fs::read(harness.file(name)).unwrap() == image, "the copy differs");
    }
}

#[test]
fn tcp_serves_like_unix() {
    let (harness, image) = filled();
    let address = harness.server.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let uri = format!("nbd://{address}");
    tool(LIBNBD, "nbdcopy", &[&uri, &harness.file("out")]);
    assert!(std::fs::read(harness.file("out")).unwrap() == image, "the copy differs");
    eventually("connections end", || harness.server.stats().connections_open == 0);
}
