use anstyle::{AnsiColor, Style};
use mesh_istio::{Diagnostic, Level};

/// `file:line:column: level: text (field) — fix`, as compilers write it, so that editors find the
/// place.
pub(crate) fn shown(found: &Diagnostic) -> String {
    let colour = match found.level {
        Level::Error => AnsiColor::Red,
        Level::Warning => AnsiColor::Yellow,
        _ => AnsiColor::Blue,
    };
    let style = Style::new().bold().fg_color(Some(colour.into()));
    let Diagnostic { file, line, column, level, text, field, .. } = found;
    let mut shown = format!("{file}:{line}:{column}: {style}{level}:{style:#} {text}");
    if !field.is_empty() {
        shown += &format!(" ({field})");
    }
    if let Some(code) = found.code {
        shown += &format!(" [{code}]");
    }
    if let Some(fix) = &found.fix {
        shown += &format!(" — {fix}");
    }
    shown
}
