//! Branches of a multi-task model: what they are called and which one is meant.

use crate::model::error::ModelError;
use crate::model::tree::{At, Node};

/// One branch of a model file.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadInfo {
    /// Its name; `Default` in a file of one model.
    pub name: String,
    /// Other names it answers to (`model_branch_alias`).
    pub aliases: Vec<String>,
    /// Number of types in its type map.
    pub types: usize,
    /// Elements it says it was trained on (`info.observed_type`), where it says so.
    pub observed_types: Vec<String>,
    /// Type of its fitting net (`ener`, `dipole`, ...).
    pub fitting: String,
    /// `info.description`, where there is one.
    pub description: Option<String>,
}

impl HeadInfo {
    /// Reads what a branch's model section says.
    pub(crate) fn of(name: &str, params: &At) -> Self {
        let texts = |node: Option<At>| -> Vec<String> {
            let list = node.and_then(|n| n.list().ok()).unwrap_or_default();
            list.iter().filter_map(|n| n.string().ok().map(str::to_string)).collect()
        };
        let aliases = match params.opt("model_branch_alias") {
            Some(At { node: Node::Str(one), .. }) => vec![one.clone()],
            other => texts(other),
        };
        let info = params.opt("info");
        let fitting = params.opt("fitting_net").and_then(|f| f.opt("type"));
        Self {
            name: name.to_string(),
            aliases,
            types: params.opt("type_map").and_then(|t| t.list().ok()).map_or(0, |t| t.len()),
            observed_types: texts(info.as_ref().and_then(|i| i.opt("observed_type"))),
            fitting: fitting.and_then(|f| f.string().ok()).unwrap_or("ener").to_string(),
            description: info.and_then(|i| i.opt("description")).and_then(|d| d.string().ok()).map(str::to_string),
        }
    }

    fn label(&self) -> String {
        match self.aliases.as_slice() {
            [] => self.name.clone(),
            aliases => format!("{} (alias {})", self.name, aliases.join(", ")),
        }
    }
}

/// The branch that a name means: exactly, then in any capitalisation; names and aliases both count. Without a name the branch called
/// or nicknamed `Default`, or the only one.
///
/// # Errors
/// [`ModelError::Head`] listing the heads.
pub(crate) fn choose(heads: &[HeadInfo], asked: Option<&str>) -> Result<usize, ModelError> {
    let find =
        |same: &dyn Fn(&str) -> bool| heads.iter().position(|h| same(&h.name) || h.aliases.iter().any(|a| same(a)));
    let wanted = asked.unwrap_or("Default");
    let found =
        find(&|name| name == wanted).or_else(|| asked.and_then(|_| find(&|name| name.eq_ignore_ascii_case(wanted))));
    match (found, asked) {
        (Some(at), _) => Ok(at),
        (None, None) if heads.len() == 1 => Ok(0),
        _ => Err(ModelError::Head {
            asked: asked.map(str::to_string),
            heads: heads.iter().map(HeadInfo::label).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, aliases: &[&str]) -> HeadInfo {
        HeadInfo {
            name: name.into(),
            aliases: aliases.iter().map(|a| a.to_string()).collect(),
            types: 2,
            observed_types: Vec::new(),
            fitting: "ener".into(),
            description: None,
        }
    }

    #[test]
    fn a_head_is_matched_exactly_then_in_any_capitalisation_then_by_alias() {
        let heads = [head("Omat24", &["materials"]), head("omat24", &[]), head("SPICE2", &["Default"])];
        assert_eq!(choose(&heads, Some("omat24")).unwrap(), 1);
        assert_eq!(choose(&heads, Some("OMAT24")).unwrap(), 0);
        assert_eq!(choose(&heads, Some("Materials")).unwrap(), 0);
        assert_eq!(choose(&heads, None).unwrap(), 2);
        let message = choose(&heads[..2], None).unwrap_err().to_string();
        assert!(message.contains("--head") && message.contains("Omat24 (alias materials), omat24"), "{message}");
        assert_eq!(choose(&heads[..1], None).unwrap(), 0);
        assert!(choose(&heads, Some("OC20M")).unwrap_err().to_string().contains("no head \"OC20M\""));
    }
}
