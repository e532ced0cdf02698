//! Goal: the main job on real input. An ext4 image made from a real directory tree of 1 GiB is
//! imported, served, and copied out with the tools that people have, byte for byte; its file system
//! is clean; and nothing of it can be read in the volume's file.
//!
//! Method: `mke2fs -d` over files of the Rust toolchain and of cargo's registry (and generated text,
//! if those are less than 1 GiB); `sealvol volume import` and `serve`; nbdcopy, `qemu-img convert`
//! and `sealvol volume export`, compared by SHA-256; `e2fsck -fn` on a copy. Then every 64-byte block
//! of the image (at multiples of 64) with 16 or more distinct byte values is looked for in the
//! volume's file at every byte offset; none is left out (see `leak.rs`: 250 MiB of memory).
//!
//! Budget: `SEALVOL_REAL_INPUT_MIB` (default 1024): the tree's size. It needs four times as much
//! disk under cargo's target directory.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed step fails the test, and its figures are printed"
)]

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealvol_tests::cli::{Sandbox, Served};
use sealvol_tests::leak::Plaintext;
use sealvol_tests::tools::{Stopwatch, env_u64, program, run, text};
use sha2::{Digest as _, Sha256};

/// A tree being assembled.
struct Tree {
    root: PathBuf,
    bytes: u64,
    files: u64,
    wanted: u64,
}

impl Tree {
    fn is_enough(&self) -> bool {
        self.bytes >= self.wanted
    }

    /// Takes a directory's regular files, in order of their names, until there is enough.
    fn take(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names: Vec<_> = std::fs::read_dir(from)?.collect::<Result<_, _>>()?;
        names.sort_by_key(std::fs::DirEntry::file_name);
        std::fs::create_dir_all(self.root.join(to))?;
        for entry in names {
            if self.is_enough() {
                return Ok(());
            }
            let kind = entry.file_type()?;
            let to = to.join(entry.file_name());
            if kind.is_dir() {
                self.take(&entry.path(), &to)?;
            } else if kind.is_file() {
                let target = self.root.join(&to);
                // A link is as good as a copy, where it is the same file system.
                if std::fs::hard_link(entry.path(), &target).is_err() {
                    std::fs::copy(entry.path(), &target)?;
                }
                self.bytes += entry.metadata()?.len();
                self.files += 1;
            }
        }
        Ok(())
    }

    /// Makes up the rest: text with numbers in it.
    fn generate(&mut self) -> io::Result<()> {
        let mut rng = StdRng::seed_from_u64(1);
        while !self.is_enough() {
            let mut page = String::new();
            while page.len() < 4 << 20 {
                let (who, what): (u32, u32) = (rng.random(), rng.random_range(0..10_000));
                page.push_str(&format!("{}: account {who} was charged {what} units\n", self.files));
            }
            std::fs::create_dir_all(self.root.join("generated"))?;
            std::fs::write(self.root.join(format!("generated/{}.txt", self.files)), &page)?;
            self.bytes += page.len() as u64;
            self.files += 1;
        }
        Ok(())
    }
}

fn real_tree(root: PathBuf, wanted: u64) -> Tree {
    let mut tree = Tree { root, bytes: 0, files: 0, wanted };
    let sysroot = run(Command::new("rustc").args(["--print", "sysroot"])).stdout;
    let mut sources = vec![PathBuf::from(String::from_utf8(sysroot).unwrap().trim())];
    let home = std::env::home_dir().unwrap_or_default();
    let cargo = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    sources.push(cargo.join("registry"));
    for (source, name) in sources.iter().zip(["toolchain", "registry"]) {
        if source.is_dir() {
            tree.take(source, Path::new(name)).unwrap();
        }
    }
    tree.generate().unwrap();
    tree
}

fn sha256(path: &Path) -> String {
    let mut file = File::open(path).unwrap();
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_image_of_a_real_tree_comes_out_as_it_went_in() {
    let total = Stopwatch::new();
    let mut watch = Stopwatch::new();
    let mut step = |what: &str| {
        println!("{what}: {:.1} s", watch.elapsed().as_secs_f64());
        watch = Stopwatch::new();
    };
    let tree_mib = env_u64("SEALVOL_REAL_INPUT_MIB", 1024);
    let sandbox = Sandbox::new(env!("CARGO_TARGET_TMPDIR"));
    let tree = real_tree(sandbox.path("tree"), tree_mib << 20);
    step("tree");
    let image = sandbox.path("image");
    let size = format!("{}M", (tree.bytes >> 20) * 5 / 4);
    let mut mke2fs = program("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-d", text(&tree.root), text(&image), &size]);
    run(&mut mke2fs);
    std::fs::remove_dir_all(&tree.root).unwrap();
    let expected = sha256(&image);
    step("mke2fs");

    let volume = sandbox.path("volume");
    sandbox.run(&["volume", "import", text(&image), text(&volume)]);
    step("import");
    let served = Served::start(&sandbox, &volume);
    let copy = sandbox.path("copy");
    run(program("nbdcopy").args([&served.uri(), text(&copy)]));
    assert_eq!(sha256(&copy), expected, "by nbdcopy");
    step("nbdcopy");
    run(program("e2fsck").args(["-f", "-n", text(&copy)]));
    std::fs::remove_file(&copy).unwrap();
    step("e2fsck");
    let nbd = format!("nbd:unix:{}", text(served.socket()));
    run(program("qemu-img").args(["convert", "-f", "raw", "-O", "raw", &nbd, text(&copy)]));
    assert_eq!(sha256(&copy), expected, "by qemu-img convert");
    std::fs::remove_file(&copy).unwrap();
    step("qemu-img");
    let memory = served.peak_memory() >> 20;
    served.stop();
    sandbox.run(&["volume", "export", text(&volume), text(&copy)]);
    assert_eq!(sha256(&copy), expected, "by export");
    std::fs::remove_file(&copy).unwrap();
    step("export");
    sandbox.run(&["volume", "verify", text(&volume)]);
    step("verify");

    let plaintext = Plaintext::read(&image).unwrap();
    step("index");
    let leak = plaintext.find_in(&volume).unwrap();
    step("scan");
    assert_eq!(leak, None, "plaintext in the volume's file");
    // The search can find: the image itself is full of it.
    assert!(plaintext.find_in(&image).unwrap().is_some());
    step("control");
    let len = std::fs::metadata(&volume).unwrap().len();
    println!(
        "{} files of {} MiB; {} runs of plaintext looked for at {len} offsets, none \
         found; server memory {memory} MiB; in all {:.1} s",
        tree.files,
        tree.bytes >> 20,
        plaintext.runs,
        total.elapsed().as_secs_f64()
    );
}
