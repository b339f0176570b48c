//! The C++ statement of an instruction.

use super::operand::Operand;
use super::parse::Instruction;
use super::value::{bits, floating, number, register, signed, whole, wide, How, Names};
use crate::compiled::CompiledError;

pub(super) fn label(name: &str) -> String {
    name.replace('$', "at_")
}

/// The statement.
///
/// # Errors
/// [`CompiledError::Unknown`].
pub(super) fn statement(i: &Instruction, names: &Names) -> Result<String, CompiledError> {
    let op: Vec<&str> = i.op.iter().map(String::as_str).collect();
    let found = control(&op, i)
        .or_else(|| memory(&op, i, names))
        .or_else(|| together(&op, i, names))
        .or_else(|| arithmetic(&op, &i.operands, names));
    let found = found.ok_or_else(|| CompiledError::Unknown { line: i.line, instruction: i.op.join(".") })?;
    Ok(match &i.guard {
        Some((guard, inverted)) => format!("if ({}{}) {found}", if *inverted { "!" } else { "" }, register(guard)),
        None => found,
    })
}

fn control(op: &[&str], i: &Instruction) -> Option<String> {
    match (op, &i.operands[..]) {
        (["bra"] | ["bra", "uni"], [Operand::Name(to)]) => Some(format!("goto {};", label(to))),
        (["ret"], []) => Some(format!("{{ end({}); return; }}", i.line)),
        (["bar", "sync"], [Operand::Whole(0)]) => Some(format!("wait_for_all({}, WAVE);", i.line)),
        _ => None,
    }
}

fn memory(op: &[&str], i: &Instruction, names: &Names) -> Option<String> {
    let o = &i.operands[..];
    let access = |how, count, kind| names.access(i.line, how, count, kind, o);
    match *op {
        ["ld", "param", kind] => {
            let (kind, [to, from]) = (number(kind)?, o) else { return None };
            names.set(to, kind, &names.parameter(kind, from)?)
        }
        ["ld", "global", "nc", kind] => access(How::ReadsConstant, "", kind),
        ["ld", "global", "nc", count, kind] => access(How::ReadsConstant, count, kind),
        // What caches keep changes no number.
        ["ld", "global", "L1::no_allocate", count, kind] => access(How::Reads, count, kind),
        ["ld", "global", kind] => access(How::Reads, "", kind),
        ["ld", "global", count, kind] => access(How::Reads, count, kind),
        ["ld", "shared", kind] => access(How::ReadsShared, "", kind),
        ["ld", "shared", count, kind] => access(How::ReadsShared, count, kind),
        ["st", "global", kind] => access(How::Writes, "", kind),
        ["st", "global", count, kind] => access(How::Writes, count, kind),
        ["st", "shared", kind] => access(How::WritesShared, "", kind),
        ["st", "shared", count, kind] => access(How::WritesShared, count, kind),
        ["atom", "global", "add", "u32"] | ["atom", "relaxed", "gpu", "global", "add", "u32"] => {
            let [to, at, value] = o else { return None };
            let added = format!("added({}, {}, {})", i.line, names.address(at)?, names.read("u32", value)?);
            names.set(to, "u32", &added)
        }
        ["cp", "async", "cg", "shared", "global"] => {
            let [to, from, Operand::Whole(16)] = o else { return None };
            Some(format!("copy_later({}, {}, {});", i.line, names.address(to)?, names.address(from)?))
        }
        // Advice, which leaves no trace.
        ["prefetch", "global", "L2"] => {
            let [at] = o else { return None };
            Some(format!("(void)({});", names.address(at)?))
        }
        ["cp", "async", "wait_all"] if o.is_empty() => Some(format!("copies_arrive({});", i.line)),
        _ => None,
    }
}

/// What lanes of a wave do together.
fn together(op: &[&str], i: &Instruction, names: &Names) -> Option<String> {
    match (op, &i.operands[..]) {
        (["shfl", "sync", "idx", "b32"], [to, from @ ..]) if from.len() == 4 => {
            let (to, there) = match to {
                Operand::Both(to, there) => (&**to, names.set(there, "bool", "there")?),
                to => (to, String::new()),
            };
            let of_lane = format!("of_lane({}, {}, there)", i.line, names.list("u32", from)?);
            Some(format!("{{ bool there; u32 v = {of_lane}; {} {there} }}", names.set(to, "u32", "v")?))
        }
        (
            ["mma", "sync", "aligned", tile, "row", "col", "f32", left, right, "f32"],
            [Operand::Several(d), Operand::Several(a), Operand::Several(b), Operand::Several(c)],
        ) if [d.len(), a.len(), b.len(), c.len()] == [4, 4, 2, 4] => {
            let function = match (*tile, *left, *right) {
                ("m16n8k8", "tf32", "tf32") => "product",
                ("m16n8k16", "f16", "f16") => "product_of_halves",
                _ => return None,
            };
            let given: Option<Vec<String>> =
                d.iter().enumerate().map(|(k, d)| names.set(d, "float", &format!("m.d[{k}]"))).collect();
            let (a, b, c) = (names.list("u32", a)?, names.list("u32", b)?, names.list("float", c)?);
            Some(format!("{{ Tile m = {function}({}, {{{a}}}, {{{b}}}, {{{c}}}); {} }}", i.line, given?.join(" ")))
        }
        _ => None,
    }
}

fn arithmetic(op: &[&str], o: &[Operand], names: &Names) -> Option<String> {
    // Functions of `ptx.h`, and operators, of numbers of one type.
    let call = |function: &str, kind: Option<&str>| {
        let (kind, (to, from)) = (kind?, o.split_first()?);
        names.set(to, kind, &format!("{function}<{kind}>({})", names.list(kind, from)?))
    };
    let between = |operator: &str, kind: Option<&str>| {
        let (kind, [to, a, b]) = (kind?, o) else { return None };
        names.set(to, kind, &format!("{} {operator} {}", names.read(kind, a)?, names.read(kind, b)?))
    };
    let logic = |kind: &str| bits(kind).or((kind == "pred").then_some("bool"));
    match *op {
        ["mov", kind] => moved(kind, o, names),
        ["cvta", "to", "global", "u64"] => moved("u64", o, names),
        ["cvt", ref kinds @ ..] => converted(kinds, o, names),
        // Sums and products that say that they are rounded: others ptxas may fuse.
        ["add", "rn", kind] => between("+", floating(kind)),
        ["sub", "rn", kind] => between("-", floating(kind)),
        ["mul", "rn", kind] => between("*", floating(kind)),
        ["div", "rn", kind] => between("/", floating(kind)),
        ["fma", "rn", "f32"] => call("fused", Some("float")),
        ["fma", "rn", "f64"] => call("fused", Some("double")),
        ["rcp", "rn", kind] => call("inverse", floating(kind)),
        ["sqrt", "rn", kind] => call("root", floating(kind)),
        ["add", kind] => between("+", whole(kind)),
        ["sub", kind] => between("-", whole(kind)),
        // Of numbers of 16 bits the product would be an int between.
        ["mul", "lo", kind] => match whole(kind)? {
            "u16" => call("times", Some("u16")),
            kind => between("*", Some(kind)),
        },
        ["mul", "hi", kind] => call("upper_half", signed(kind).filter(|kind| *kind != "i64")),
        ["mad", "lo", kind] => {
            let (kind, [to, a, b, c]) = (whole(kind).filter(|kind| *kind != "u16")?, o) else { return None };
            let read = |x| names.read(kind, x);
            names.set(to, kind, &format!("{} * {} + {}", read(a)?, read(b)?, read(c)?))
        }
        ["mul", "wide", kind] => {
            let ([narrow, wide], [to, a, b]) = (wide(kind)?, o) else { return None };
            let read = |x| Some(format!("{wide}({})", names.read(narrow, x)?));
            names.set(to, wide, &format!("{} * {}", read(a)?, read(b)?))
        }
        ["mad", "wide", kind] => {
            let ([narrow, wide], [to, a, b, c]) = (wide(kind)?, o) else { return None };
            let read = |x| Some(format!("{wide}({})", names.read(narrow, x)?));
            // The sum wraps.
            let sum = if wide.ends_with("64") { "u64" } else { "u32" };
            names.set(to, sum, &format!("{sum}({} * {}) + {}", read(a)?, read(b)?, names.read(sum, c)?))
        }
        ["div", kind] => call("over", signed(kind)),
        ["rem", kind] => call("rest", signed(kind)),
        ["neg", kind] => {
            let (kind, [to, a]) = (floating(kind).or(whole(kind))?, o) else { return None };
            names.set(to, kind, &format!("-{}", names.read(kind, a)?))
        }
        ["abs", kind] => call("magnitude", floating(kind)),
        ["min", kind] => call("least", floating(kind).or(signed(kind))),
        ["max", kind] => call("most", floating(kind).or(signed(kind))),
        ["and", kind] => between("&", logic(kind)),
        ["or", kind] => between("|", logic(kind)),
        ["xor", kind] => between("^", logic(kind)),
        ["not", kind] => {
            let (kind, [to, a]) = (logic(kind)?, o) else { return None };
            let operator = if kind == "bool" { "!" } else { "~" };
            names.set(to, kind, &format!("{operator}{}", names.read(kind, a)?))
        }
        ["shl", kind] => shifted(["left", "<<"], bits(kind)?, o, names),
        ["shr", kind] => shifted(["right", ">>"], bits(kind).or(signed(kind))?, o, names),
        ["bfi", kind] => {
            let (kind, [to, a, b, place @ ..]) = (bits(kind)?, o) else { return None };
            let (a, b) = (names.read(kind, a)?, names.read(kind, b)?);
            (place.len() == 2).then_some(())?;
            names.set(to, kind, &format!("inserted<{kind}>({a}, {b}, {})", names.list("u32", place)?))
        }
        ["prmt", "b32"] => call("bytes_of", Some("u32")),
        ["setp", how, kind] => {
            let comparable = kind != "pred" && (bits(kind).is_none() || matches!(how, "eq" | "ne"));
            compared(how, number(kind).filter(|_| comparable)?, o, names)
        }
        ["selp", kind] => {
            let (kind, [to, a, b, which]) = (number(kind)?, o) else { return None };
            let (a, b) = (names.read(kind, a)?, names.read(kind, b)?);
            names.set(to, kind, &format!("{} ? {a} : {b}", names.read("bool", which)?))
        }
        ["ex2", "approx", "ftz", "f32"] => call("power", Some("float")),
        ["rcp", "approx", "ftz", "f32"] => call("estimated", Some("float")),
        _ => None,
    }
}

fn moved(kind: &str, operands: &[Operand], names: &Names) -> Option<String> {
    let halves = match kind {
        "b64" => Some(("u32", 32)),
        "b32" => Some(("u16", 16)),
        _ => None,
    };
    let whole = number(kind)?;
    match operands {
        // A number of two halves, and back.
        [to, Operand::Several(parts)] => {
            let ((half, bits), [low, high]) = (halves?, &parts[..]) else { return None };
            let (low, high) = (names.read(half, low)?, names.read(half, high)?);
            names.set(to, whole, &format!("{whole}({low}) | {whole}({high}) << {bits}"))
        }
        [Operand::Several(parts), from] => {
            let ((half, bits), [low, high]) = (halves?, &parts[..]) else { return None };
            let low = names.set(low, half, &format!("{half}(v)"))?;
            let high = names.set(high, half, &format!("{half}(v >> {bits})"))?;
            Some(format!("{{ {whole} v = {}; {low} {high} }}", names.read(whole, from)?))
        }
        [to, from] => names.set(to, whole, &names.read(whole, from)?),
        _ => None,
    }
}

/// One number as another kind of number.
fn converted(kinds: &[&str], operands: &[Operand], names: &Names) -> Option<String> {
    match (kinds, operands) {
        (["rn", "f16x2", "f32"], [to, high, low]) => {
            let two = format!("two_halves({}, {})", names.read("float", high)?, names.read("float", low)?);
            return names.set(to, "u32", &two);
        }
        (["f32", "f16"], [to, from]) => {
            return names.set(to, "float", &format!("of_half({})", names.read("u16", from)?));
        }
        _ => {}
    }
    let ([rounding @ .., to_kind, from_kind], [to, from]) = (kinds, operands) else { return None };
    let (t, f) = (number(to_kind)?, number(from_kind)?);
    let from = names.read(f, from)?;
    let known = match (rounding, signed(to_kind).is_some(), signed(from_kind).is_some()) {
        ([], true, true) | (["rn"], false, true) => true,
        ([], false, false) => (t, f) == ("double", "float"),
        (["rn"], false, false) => (t, f) == ("float", "double"),
        (["rzi"], true, false) => return names.set(to, t, &format!("towards_zero<{t}, {f}>({from})")),
        _ => false,
    };
    (known && f != "bool" && t != "bool").then_some(())?;
    names.set(to, t, &format!("{t}({from})"))
}

fn shifted([function, operator]: [&str; 2], kind: &str, operands: &[Operand], names: &Names) -> Option<String> {
    let [to, a, by] = operands else { return None };
    let width = match kind {
        "u16" | "i16" => 16,
        "u32" | "i32" => 32,
        _ => 64,
    };
    let value = names.read(kind, a)?;
    match by {
        Operand::Whole(by) if (0..width).contains(by) => names.set(to, kind, &format!("{value} {operator} {by}")),
        by => names.set(to, kind, &format!("{function}<{kind}>({value}, {})", names.read("u32", by)?)),
    }
}

/// Comparisons; those with a u are true where one is no number.
fn compared(how: &str, kind: &str, operands: &[Operand], names: &Names) -> Option<String> {
    let [to, a, b] = operands else { return None };
    let (a, b) = (names.read(kind, a)?, names.read(kind, b)?);
    let floating = kind == "float" || kind == "double";
    let value = match how {
        "eq" => format!("{a} == {b}"),
        "lt" => format!("{a} < {b}"),
        "le" => format!("{a} <= {b}"),
        "gt" => format!("{a} > {b}"),
        "ge" => format!("{a} >= {b}"),
        "ne" if !floating => format!("{a} != {b}"),
        "ne" => format!("{a} < {b} || {a} > {b}"),
        "neu" if floating => format!("{a} != {b}"),
        "equ" if floating => format!("!({a} < {b} || {a} > {b})"),
        "ltu" if floating => format!("!({a} >= {b})"),
        "leu" if floating => format!("!({a} > {b})"),
        "gtu" if floating => format!("!({a} <= {b})"),
        "geu" if floating => format!("!({a} < {b})"),
        "num" if floating => format!("{a} == {a} && {b} == {b}"),
        "nan" if floating => format!("{a} != {a} || {b} != {b}"),
        _ => return None,
    };
    names.set(to, "bool", &value)
}
