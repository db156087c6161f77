//! Versions of a guest in text form.

/// The text as version `number`, with code in the place of some of its marks.
pub(crate) fn version(wat: &str, number: u8, marks: &[(&str, &str)]) -> String {
    let mut wat = wat.replace("(i64.const 1 (; version ;))", &format!("(i64.const {number})"));
    for (mark, code) in marks {
        let mark = format!(";;; {mark}\n");
        assert!(wat.contains(&mark), "{mark}");
        wat = wat.replace(&mark, &format!("{code}\n"));
    }
    wat
}
