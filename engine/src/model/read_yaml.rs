//! The `.yaml` container: the tree as YAML text, arrays as nested lists.
//!
//! Driven by the parser's events with a stack of our own, so that neither nesting nor aliases can exhaust memory.

use std::collections::HashMap;

use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::TScalarStyle;

use super::arrays::collapse;
use super::error::ModelError;
use super::tree::{Map, Node};

/// Deepest nesting accepted (a model has about 15).
const LARGEST_DEPTH: usize = 100;

fn broken(problem: impl ToString) -> ModelError {
    ModelError::container("YAML", problem)
}

/// Reads the whole tree of a `.yaml` file held in memory.
pub(crate) fn read(bytes: &[u8]) -> Result<Node, ModelError> {
    let text = std::str::from_utf8(bytes).map_err(|e| broken(format!("expected UTF-8 text: {e}")))?;
    let mut builder = Builder { open: Vec::new(), anchors: HashMap::new(), root: None, budget: bytes.len() };
    let mut parser = Parser::new_from_str(text);
    loop {
        let (event, mark) = parser.next_token().map_err(broken)?;
        if event == Event::StreamEnd {
            break;
        }
        builder.event(event).map_err(|problem| broken(format!("line {}: {problem}", mark.line())))?;
    }
    match builder.root {
        Some(root @ Node::Map(_)) => collapse(root, ""),
        _ => Err(broken("expected a map at the top: this is no serialized model")),
    }
}

/// A collection that is not finished.
enum Open {
    List { items: Vec<Node>, anchor: usize },
    Map { entries: Map, key: Option<String>, anchor: usize },
}

struct Builder {
    open: Vec<Open>,
    /// Finished anchored nodes with their number of parts.
    anchors: HashMap<usize, (Node, usize)>,
    root: Option<Node>,
    /// Parts that aliases may still add.
    budget: usize,
}

impl Builder {
    fn event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::SequenceStart(anchor, _) => self.push(Open::List { items: Vec::new(), anchor }),
            Event::MappingStart(anchor, _) => self.push(Open::Map { entries: Map::new(), key: None, anchor }),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { items, anchor }) => self.finish(Node::List(items), anchor),
                Some(Open::Map { entries, key: None, anchor }) => self.finish(Node::Map(entries), anchor),
                _ => Err("a collection ends in the wrong place".into()),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == TScalarStyle::Plain && tag.is_none();
                self.finish(if plain { resolve(text) } else { Node::Str(text) }, anchor)
            }
            Event::Alias(anchor) => {
                let (node, parts) = self.anchors.get(&anchor).cloned().ok_or("an alias of nothing")?;
                self.budget = self.budget.checked_sub(parts).ok_or("aliases repeat more than the file holds")?;
                self.finish(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, open: Open) -> Result<(), String> {
        if self.open.len() >= LARGEST_DEPTH {
            return Err(format!("nested more than {LARGEST_DEPTH} deep"));
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if anchor > 0 {
            let parts = parts(&node);
            self.budget = self.budget.checked_sub(parts).ok_or("anchors repeat more than the file holds")?;
            self.anchors.insert(anchor, (node.clone(), parts));
        }
        match self.open.last_mut() {
            None if self.root.is_none() => self.root = Some(node),
            None => return Err("more than one document".into()),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(name) => entries.push((name, node)),
                None => {
                    *key = Some(match node {
                        Node::Str(name) => name,
                        Node::Int(number) => number.to_string(),
                        other => return Err(format!("expected text as a key, found {}", other.kind())),
                    })
                }
            },
        }
        Ok(())
    }
}

/// Number of parts, counting texts by length.
fn parts(node: &Node) -> usize {
    match node {
        Node::List(list) => 1 + list.iter().map(parts).sum::<usize>(),
        Node::Map(map) => 1 + map.iter().map(|(k, v)| k.len() + parts(v)).sum::<usize>(),
        Node::Str(text) => 1 + text.len(),
        _ => 1,
    }
}

/// What a plain scalar means.
fn resolve(text: String) -> Node {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Node::Null,
        "true" | "True" | "TRUE" => return Node::Bool(true),
        "false" | "False" | "FALSE" => return Node::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Node::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" => return Node::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Node::Float(f64::NEG_INFINITY),
        _ => {}
    }
    // Only what looks like a number: Rust's parser would also take "inf" and "nan".
    if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        if let Ok(number) = text.parse::<i64>() {
            return Node::Int(number);
        }
        if text.contains(|c: char| c.is_ascii_digit()) {
            if let Ok(number) = text.parse::<f64>() {
                return Node::Float(number);
            }
        }
    }
    Node::Str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_lists_and_aliases_become_a_tree() {
        let node = read(b"a: &x [1, 2.5, -1.0e-05, null, true, N, '7']\nb: *x\nc: {d: no}\n").unwrap();
        let list = vec![
            Node::Int(1),
            Node::Float(2.5),
            Node::Float(-1.0e-5),
            Node::Null,
            Node::Bool(true),
            Node::Str("N".into()),
            Node::Str("7".into()),
        ];
        assert_eq!(node.get("a"), Some(&Node::List(list.clone())));
        assert_eq!(node.get("b"), Some(&Node::List(list)));
        // Nobelium in a type map is quoted or not, and never false.
        assert_eq!(node.get("c").unwrap().get("d"), Some(&Node::Str("no".into())));
    }

    #[test]
    fn aliases_that_multiply_and_deep_nesting_are_refused() {
        let mut bomb = String::from("a0: &a0 [1,1,1,1,1,1,1,1]\n");
        for i in 1..30 {
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 8].join(","));
        }
        let message = read(bomb.as_bytes()).unwrap_err().to_string();
        assert!(message.contains("repeat more"), "{message}");
        assert!(read("[".repeat(100_000).as_bytes()).is_err());
        assert!(read("- ".repeat(100_000).as_bytes()).is_err());
    }
}
