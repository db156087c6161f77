//! Lines that belong together to text.

use super::layout::{Above, Block, Content, Entry, STEP};

/// The text of a layout.
pub(super) fn print(root: &Block) -> String {
    let mut out = String::new();
    let mut first = true;
    for line in &root.header {
        comment(&mut out, line, 0, &mut first);
    }
    if root.gap {
        out.push('\n');
    }
    entries(&mut out, root, 0, true, false);
    out
}

fn indented(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn comment(out: &mut String, line: &Above, indent: usize, first: &mut bool) {
    if line.blank && !*first {
        out.push('\n');
    }
    *first = false;
    indented(out, indent);
    out.push_str(&line.text);
    out.push('\n');
}

/// The entries of a block; `behind` means that the first one goes on behind a dash.
fn entries(out: &mut String, block: &Block, indent: usize, mut first: bool, mut behind: bool) {
    for entry in &block.entries {
        for line in &entry.above {
            comment(out, line, indent, &mut first);
        }
        if entry.blank && !first && !behind {
            out.push('\n');
        }
        first = false;
        if !behind {
            indented(out, indent);
        }
        behind = false;
        self::entry(out, entry, indent);
    }
    for line in &block.end {
        comment(out, line, indent, &mut first);
    }
}

fn entry(out: &mut String, entry: &Entry, indent: usize) {
    match &entry.key {
        Some(key) => {
            out.push_str(key);
            out.push(':');
        }
        None => out.push('-'),
    }
    let beside = |out: &mut String| {
        if let Some(comment) = &entry.beside {
            out.push_str("  ");
            out.push_str(comment);
        }
        out.push('\n');
    };
    match &entry.content {
        Content::Nothing => beside(out),
        Content::Inline(text) => {
            out.push(' ');
            out.push_str(text);
            beside(out);
        }
        Content::Literal(header, lines) => {
            out.push(' ');
            out.push_str(header);
            beside(out);
            for line in lines {
                if !line.is_empty() {
                    indented(out, indent + STEP);
                    out.push_str(line);
                }
                out.push('\n');
            }
        }
        Content::Block(block) if entry.key.is_some() => {
            beside(out);
            entries(out, block, indent + STEP, true, false);
        }
        Content::Block(block) => {
            out.push(' ');
            entries(out, block, indent + STEP, true, true);
        }
    }
}
