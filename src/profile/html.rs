//! A profile as one HTML file that needs nothing else.

use super::lines::Measured;
use super::{cells, HEAD};
use std::fmt::Write;

/// Text with the characters that HTML keeps for itself replaced.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .7em;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}th{border-bottom:2px solid #888}\
pre{background:#f6f6f6;padding:.7em;overflow:auto}svg{max-width:100%;height:auto}";

/// The page. `facts` are label and value, `links` the link table as text.
pub fn page(
    title: &str,
    facts: &[(&str, String)],
    measured: &Measured,
    svg: &str,
    links: &str,
    kernels: &str,
) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{t}</title><style>{STYLE}</style></head><body>\n<h1>{t}</h1>\n<table>\n",
        t = escape(title)
    );
    // Writing to a string cannot fail.
    for (label, value) in facts {
        writeln!(html, "<tr><td>{}</td><td>{}</td></tr>", escape(label), escape(value)).expect("text");
    }
    html.push_str("</table>\n<h2>Time of a step against the budget</h2>\n");
    html.push_str(svg);
    html.push_str("\n<table>\n<tr>");
    for name in HEAD {
        write!(html, "<th>{}</th>", escape(name)).expect("text");
    }
    html.push_str("</tr>\n");
    for row in &measured.rows {
        html.push_str("<tr>");
        for cell in cells(row, measured) {
            write!(html, "<td>{}</td>", escape(&cell)).expect("text");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n<h2>Links between tiers</h2>\n<pre>");
    html.push_str(&escape(links.trim()));
    html.push_str("</pre>\n");
    if !kernels.is_empty() {
        html.push_str("<h2>Where a step's time goes</h2>\n<pre>");
        html.push_str(&escape(kernels.trim()));
        html.push_str("</pre>\n");
    }
    html.push_str("</body></html>\n");
    html
}
