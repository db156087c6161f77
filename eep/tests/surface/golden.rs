//! Comparing what is told with what was told before.

use std::path::Path;

/// Compares with `tests/golden/surface/NAME`, section by section (`### TITLE`), or writes it anew under `EEP_BLESS`.
pub(crate) fn compare(name: &str, told: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/surface").join(name);
    if std::env::var_os("EEP_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, told).unwrap();
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    for (wanted, told) in wanted.split("### ").zip(told.split("### ")) {
        assert_eq!(wanted, told, "{name}");
    }
    assert_eq!(wanted, told, "{name}");
}
