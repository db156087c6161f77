//! Which autonomous system an address is in, by a table in a file: `PREFIX NUMBER` or `ADDRESS LENGTH NUMBER` a line, as
//! the tables are that are made of what routers announce (RouteViews, CAIDA's `prefix2as`).

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use ipnet::IpNet;

use crate::policy::prefixes::Prefixes;
use crate::problem::Problem;

/// Lines of a table: four times what the whole Internet announces.
const LINES_MAX: usize = 5_000_000;
/// Bytes of a line.
const LINE_BYTES_MAX: usize = 1_024;

/// A table that was read.
#[derive(Clone, Debug)]
pub(crate) struct Systems {
    pub(crate) table: Prefixes,
    pub(crate) prefixes: usize,
}

impl Systems {
    /// Reads a table.
    ///
    /// # Errors
    /// It cannot be read, or the first line that is none, with its place.
    pub(crate) fn read(path: &Path) -> Result<Self, Box<Problem>> {
        let unreadable = |e: std::io::Error| {
            Problem::new(
                "unreadable-table",
                422,
                format!("the table of autonomous systems cannot be read: {e}"),
            )
            .at(path.display().to_string())
            .fix("check the path, and that this user may read the file")
        };
        let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
        let (mut all, mut line, mut number) = (Vec::new(), Vec::new(), 0_usize);
        loop {
            line.clear();
            let mut within = std::io::Read::take(&mut reader, LINE_BYTES_MAX as u64);
            if within.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
                break;
            }
            number += 1;
            let wrong = |column: usize, what: String, fix: &str| {
                Problem::new("bad-table", 422, what)
                    .at(format!("{}:{number}:{column}", path.display()))
                    .fix(fix)
            };
            if number > LINES_MAX {
                return Err(wrong(1, format!("a table has at most {LINES_MAX} lines"), "leave prefixes out"));
            }
            let text = std::str::from_utf8(&line)
                .map_err(|e| wrong(e.valid_up_to() + 1, "this is no text in UTF-8".to_owned(), FORM))?;
            let read = entry(text).map_err(|(column, what)| wrong(column, what, FORM))?;
            all.extend(read);
        }
        if all.is_empty() {
            let what = "the table of autonomous systems has no prefix in it";
            return Err(Problem::new("bad-table", 422, what).at(path.display().to_string()).fix(FORM));
        }
        let prefixes = all.len();
        Ok(Self { table: Prefixes::new(all), prefixes })
    }
}

const FORM: &str = "write a prefix and the number of its autonomous system: 192.0.2.0/24 64500";

/// A line; none where it is empty or a comment. Where it is wrong, the column and why.
fn entry(line: &str) -> Result<Option<(IpNet, u32)>, (usize, String)> {
    let line = line.split('#').next().unwrap_or_default();
    let column = |word: &str| line[..word.as_ptr() as usize - line.as_ptr() as usize].chars().count() + 1;
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return Ok(None) };
    let rest: Vec<&str> = words.collect();
    let (prefix, system) = match rest[..] {
        [system] => (first.to_owned(), system),
        [length, system] => (format!("{first}/{length}"), system),
        [_, _, extra, ..] => return Err((column(extra), format!("`{}` is one word too many", cut(extra)))),
        [] => return Err((column(first) + first.chars().count(), "here a number is missing".to_owned())),
    };
    let prefix: IpNet =
        prefix.parse().map_err(|_| (column(first), format!("`{}` is not a prefix", cut(&prefix))))?;
    // Announced by several: the one that most routers see comes first.
    let one = system.split(['_', ',']).next().unwrap_or_default();
    let digits = one.trim_start_matches(['{', 'A', 'S']).trim_end_matches('}');
    match digits.parse() {
        Ok(number) if number != 0 => Ok(Some((prefix.trunc(), number))),
        _ => Err((column(system), format!("`{}` is not the number of an autonomous system", cut(system)))),
    }
}

fn cut(word: &str) -> String {
    word.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Systems, Box<Problem>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Systems::read(file.path())
    }

    #[test]
    fn both_forms_are_read() {
        let text = "# of today\n192.0.2.0/24 64500\n198.51.100.0\t24\t64501_64502\n\n2001:db8::/32 AS64503 # ours\n\
                    203.0.113.0 24 {64504,64505}\n";
        let systems = read(text).unwrap();
        assert_eq!(systems.prefixes, 4);
        let of = |address: &str| systems.table.get(address.parse().unwrap());
        assert_eq!(
            ["192.0.2.9", "198.51.100.1", "2001:db8::9", "203.0.113.1", "10.0.0.1"].map(of),
            [Some(64500), Some(64501), Some(64503), Some(64504), None]
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let told = |text: &str| {
            let problem = read(text).unwrap_err();
            let place = problem.place.clone().unwrap_or_default();
            (place.split_once(':').map(|(_, at)| at.to_owned()), problem.title.clone())
        };
        for (text, place, what) in [
            ("192.0.2.0/24 64500\n192.0.2.0/33 1\n", "2:1", "`192.0.2.0/33` is not a prefix"),
            ("192.0.2.0/24 sixty\n", "1:14", "`sixty` is not the number of an autonomous system"),
            ("192.0.2.0/24 0\n", "1:14", "`0` is not the number of an autonomous system"),
            ("192.0.2.0/24\n", "1:13", "here a number is missing"),
            ("192.0.2.0 24 64500 x\n", "1:20", "`x` is one word too many"),
        ] {
            assert_eq!(told(text), (Some(place.to_owned()), what.to_owned()));
        }
        assert_eq!(told("# nothing\n").1, "the table of autonomous systems has no prefix in it");
        assert!(told(&"x".repeat(4_096)).1.contains("a number is missing"));
        assert_eq!(Systems::read(Path::new("/nowhere/at/all")).unwrap_err().code, "unreadable-table");
    }
}
