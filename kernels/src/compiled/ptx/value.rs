//! Registers, parameters and memory, read and written by C++ expressions.

use super::operand::Operand;
use super::parse::Kernel;
use std::collections::BTreeMap;

/// The C++ type of a PTX type.
pub(super) fn number(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "b16" | "u16" => "u16",
        "s16" => "i16",
        "b32" | "u32" => "u32",
        "s32" => "i32",
        "b64" | "u64" => "u64",
        "s64" => "i64",
        "f32" => "float",
        "f64" => "double",
        "pred" => "bool",
        _ => return None,
    })
}

/// Of whole numbers whose sums and products are the same with a sign and without.
pub(super) fn whole(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "u16" | "s16" => "u16",
        "u32" | "s32" => "u32",
        "u64" | "s64" => "u64",
        _ => return None,
    })
}

/// Of bits alone.
pub(super) fn bits(kind: &str) -> Option<&'static str> {
    number(kind).filter(|_| kind.starts_with('b'))
}

/// Of whole numbers with a sign or without, as they are compared and divided.
pub(super) fn signed(kind: &str) -> Option<&'static str> {
    number(kind).filter(|_| kind.starts_with(['u', 's']))
}

pub(super) fn floating(kind: &str) -> Option<&'static str> {
    number(kind).filter(|_| kind.starts_with('f'))
}

/// Of a number and of one twice as wide.
pub(super) fn wide(kind: &str) -> Option<[&'static str; 2]> {
    Some(match kind {
        "u16" => ["u16", "u32"],
        "s16" => ["i16", "i32"],
        "u32" => ["u32", "u64"],
        "s32" => ["i32", "i64"],
        _ => return None,
    })
}

/// The name of a register in C++.
pub(super) fn register(name: &str) -> String {
    format!("x_{}", name.trim_start_matches('%'))
}

/// What instructions of a kernel refer to by name.
pub(super) struct Names<'a> {
    parameters: Vec<&'a str>,
    /// Prefixes of registers, and their C++ types.
    registers: BTreeMap<&'a str, &'static str>,
}

impl<'a> Names<'a> {
    pub(super) fn of(kernel: &'a Kernel) -> Self {
        let parameters = kernel.parameters.iter().map(|p| p.name.as_str()).collect();
        let registers = kernel.registers.iter().filter_map(|r| Some((r.prefix.as_str(), number(&r.kind)?))).collect();
        Self { parameters, registers }
    }

    /// The C++ type of a register.
    fn kind_of(&self, name: &str) -> Option<&'static str> {
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        self.registers.get(name).or_else(|| self.registers.get(prefix)).copied()
    }

    /// An operand read as a C++ type.
    pub(super) fn read(&self, kind: &str, operand: &Operand) -> Option<String> {
        Some(match operand {
            Operand::Register(name) => match name.as_str() {
                "%tid.x" => format!("{kind}(state.thread)"),
                "%ctaid.x" => format!("{kind}(state.block)"),
                "%nctaid.x" => format!("{kind}(state.run->grid)"),
                "%ntid.x" => format!("{kind}(state.run->threads)"),
                other if self.kind_of(other)? == kind => register(other),
                other => format!("get<{kind}>({})", register(other)),
            },
            // The width is the instruction's, so what does not fit is cut.
            Operand::Whole(n) if kind == "u32" => format!("{}u", *n as u32),
            Operand::Whole(n) if kind == "bool" => (*n != 0).to_string(),
            Operand::Whole(n) if kind != "float" && kind != "double" => format!("{kind}({}ull)", *n as u64),
            Operand::Single(bits) if kind == "float" => match f32::from_bits(*bits) {
                x if x.is_finite() => format!("{x:e}f"),
                _ => format!("get<float>({bits}u)"),
            },
            Operand::Double(bits) if kind == "double" => match f64::from_bits(*bits) {
                x if x.is_finite() => format!("{x:e}"),
                _ => format!("get<double>(u64({bits}ull))"),
            },
            Operand::Single(bits) if kind == "u32" => format!("{bits}u"),
            Operand::Double(bits) if kind == "u64" => format!("u64({bits}ull)"),
            // The only array.
            Operand::Name(name) if name == "shared_memory" => format!("{kind}(SHARED)"),
            _ => return None,
        })
    }

    /// Operands, all of one type.
    pub(super) fn list(&self, kind: &str, operands: &[Operand]) -> Option<String> {
        let all: Option<Vec<String>> = operands.iter().map(|o| self.read(kind, o)).collect();
        Some(all?.join(", "))
    }

    /// A statement that gives a register a value of a C++ type.
    pub(super) fn set(&self, to: &Operand, kind: &str, value: &str) -> Option<String> {
        let Operand::Register(name) = to else { return None };
        Some(match self.kind_of(name)? {
            own if own == kind => format!("{} = {value};", register(name)),
            _ => format!("set({}, {kind}({value}));", register(name)),
        })
    }

    /// A parameter: every one has eight bytes of its own.
    pub(super) fn parameter(&self, kind: &str, operand: &Operand) -> Option<String> {
        let Operand::Address(name, 0) = operand else { return None };
        let Operand::Name(name) = &**name else { return None };
        let value = format!("args[{}].value", self.parameters.iter().position(|p| p == name)?);
        Some(match kind {
            "u32" => format!("u32({value})"),
            _ => format!("get<{kind}>({value})"),
        })
    }

    /// The place that an operand in brackets says.
    pub(super) fn address(&self, operand: &Operand) -> Option<String> {
        match operand {
            Operand::Address(base, 0) => self.read("u64", base),
            Operand::Address(base, offset) => Some(format!("{} + {}ull", self.read("u64", base)?, *offset as u64)),
            _ => None,
        }
    }

    /// An access to memory: numbers that stand together are one.
    pub(super) fn access(
        &self,
        line: usize,
        how: How,
        count: &str,
        kind: &str,
        operands: &[Operand],
    ) -> Option<String> {
        let number = number(kind).filter(|_| kind != "pred")?;
        let count: usize = match count {
            "" => 1,
            "v2" => 2,
            "v4" => 4,
            _ => return None,
        };
        let writes = matches!(how, How::Writes | How::WritesShared);
        let (place, values) = match (operands, writes) {
            ([values, place], false) | ([place, values], true) => (place, values),
            _ => return None,
        };
        let values: &[Operand] = match values {
            Operand::Several(all) => all,
            one => std::slice::from_ref(one),
        };
        if values.len() != count {
            return None;
        }
        let moves: Option<Vec<String>> = values
            .iter()
            .enumerate()
            .map(|(k, value)| match writes {
                true => Some(format!("p[{k}] = {};", self.read(number, value)?)),
                false => self.set(value, number, &format!("p[{k}]")),
            })
            .collect();
        let bytes = format!("{count} * sizeof({number})");
        let at = format!("{}({line}, {}, {bytes}, {bytes})", how.function(), self.address(place)?);
        // The address is worked out before anything is given: it may stand in a register that is read into.
        Some(format!("{{ May<{number}> *p = (May<{number}> *){at}; {} }}", moves?.join(" ")))
    }
}

/// What is done to which memory.
#[derive(Clone, Copy)]
pub(super) enum How {
    Reads,
    /// As what never changes.
    ReadsConstant,
    Writes,
    ReadsShared,
    WritesShared,
}

impl How {
    /// Of `machine.h`.
    fn function(self) -> &'static str {
        match self {
            How::Reads => "global<READ>",
            How::ReadsConstant => "global<READ_ONLY>",
            How::Writes => "global<WRITE>",
            How::ReadsShared => "shared<READ>",
            How::WritesShared => "shared<WRITE>",
        }
    }
}
