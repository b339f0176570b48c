//! Run parameters (`.mdp`).

/// Keys as grompp compares them.
fn plain(key: &str) -> String {
    key.trim().to_lowercase().replace(['_', '-'], "")
}

fn pair(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.split(';').next().unwrap_or("").split_once('=')?;
    Some((plain(key), value.trim()))
}

/// The value of a key, the last one where it stands twice.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().filter_map(pair).filter(|(k, _)| *k == plain(key)).map(|(_, v)| v).next_back()
}

/// The file with these keys set: in their place where they are, at the end where not. Everything else stays as it is.
pub(super) fn set(text: &str, keys: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut done: Vec<&str> = Vec::new();
    for line in text.lines() {
        let found = pair(line).and_then(|(key, old)| Some((keys.iter().find(|(k, _)| plain(k) == key)?, old)));
        match found {
            None => out += line,
            // A second line would win over ours.
            Some(((key, _), _)) if done.contains(key) => out += &format!("; {line}"),
            Some(((key, new), old)) => {
                done.push(key);
                let was = if old.eq_ignore_ascii_case(new) { String::new() } else { format!("    ; was: {old}") };
                out += &format!("{key:<22} = {new}{was}");
            }
        }
        out.push('\n');
    }
    let missing = keys.iter().filter(|(k, _)| !done.contains(k));
    let added: String = missing.map(|(k, v)| format!("{k:<22} = {v}\n")).collect();
    if added.is_empty() {
        return out;
    }
    out + "\n; set by weir gromacs prepare\n" + &added
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_set_in_their_place_and_the_rest_stays() {
        let text = "; mine\nCoulombType = PME ; long range\nrvdw=1.2\ndt = 0.001\nRVDW = 1.4\nvdw-type = Switch\n";
        let out =
            set(text, &[("coulombtype", "Cut-off"), ("rvdw", "0.3"), ("disp-corr", "no"), ("vdwtype", "Cut-off")]);
        assert_eq!(
            (value(&out, "coulombtype"), value(&out, "rvdw"), value(&out, "dt")),
            (Some("Cut-off"), Some("0.3"), Some("0.001"))
        );
        assert!(out.starts_with("; mine\n") && out.contains("; was: PME") && out.contains("; RVDW = 1.4"), "{out}");
        assert_eq!((value(&out, "Disp_Corr"), value(&out, "nsteps")), (Some("no"), None));
        assert_eq!(value(text, "rvdw"), Some("1.4"));
        assert!(!out.contains("vdw-type") && value(&out, "vdw_type") == Some("Cut-off"), "{out}");
    }
}
