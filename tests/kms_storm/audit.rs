//! Reading the audit back.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

/// The audit, line by line: how often each call is in it, by request id and name.
pub(crate) fn audit(dir: &Path) -> (HashMap<String, (String, u32)>, usize) {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let (mut records, mut torn) = (HashMap::new(), 0);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        assert!(bytes.ends_with(b"\n"), "{}", file.display());
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(record) = serde_json::from_slice::<Value>(line) else {
                torn += 1;
                continue;
            };
            let id = record["requestID"].as_str().unwrap().to_owned();
            let name = record["eventName"].as_str().unwrap().to_owned();
            records.entry(id).or_insert((name, 0_u32)).1 += 1;
        }
    }
    (records, torn)
}
