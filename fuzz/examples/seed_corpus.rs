//! Writes the seeds of every target into `corpus/TARGET/seed-NAME`, and takes away seeds that are not
//! made any more.

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let (mut count, mut bytes) = (0, 0);
    for (target, _) in sealvol_fuzz::TARGETS {
        let dir = corpus.join(target);
        fs::create_dir_all(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("seed-") {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for seed in sealvol_fuzz::seeds::all() {
        fs::write(corpus.join(seed.target).join(seed.file_name()), &seed.bytes)?;
        count += 1;
        bytes += seed.bytes.len();
    }
    println!("{count} seeds, {bytes} bytes");
    Ok(())
}
