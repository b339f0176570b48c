//! Kernels, registers and statements of PTX.

use super::operand::{operands, Operand};
use crate::compiled::error::{malformed, CompiledError};

/// A parameter of a kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub name: String,
    /// `u32`, `u64`, `f64`.
    pub kind: String,
}

/// Registers of one kind: `%r<5>` are `%r0` to `%r4`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Registers {
    /// With its per cent sign.
    pub prefix: String,
    /// `pred`, `b16`, `b32`, `f32`, `b64`, `f64`.
    pub kind: String,
    /// None where the prefix is all of the name.
    pub count: Option<usize>,
}

/// One instruction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Of the PTX, from 1.
    pub line: usize,
    /// The predicate that it depends on, and whether that must be false.
    pub guard: Option<(String, bool)>,
    /// The opcode, by its points: `ld`, `global`, `nc`, `u32`.
    pub op: Vec<String>,
    pub operands: Vec<Operand>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Label(String),
    Instruction(Instruction),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    pub name: String,
    pub parameters: Vec<Parameter>,
    /// Of a block, where the text says so.
    pub most_threads: Option<u32>,
    pub registers: Vec<Registers>,
    pub body: Vec<Statement>,
}

/// What is left to read, and where it is.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// Leaves out blanks and comments.
    fn skip(&mut self) {
        loop {
            let end = self.rest.find(|c: char| !c.is_whitespace()).unwrap_or(self.rest.len());
            self.forward(end);
            let Some(comment) = self.rest.strip_prefix("//") else { return };
            let end = comment.find('\n').map_or(self.rest.len(), |n| n + 2);
            self.forward(end);
        }
    }

    fn forward(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Takes up to an end, which is left out of what is returned.
    fn until(&mut self, end: char) -> Result<&'a str, CompiledError> {
        let at = self.rest.find(end).ok_or_else(|| malformed(self.line, "a statement without its end", self.rest))?;
        let taken = self.forward(at);
        self.forward(end.len_utf8());
        Ok(taken)
    }

    fn eat(&mut self, word: &str) -> bool {
        let has = self.rest.starts_with(word);
        if has {
            self.forward(word.len());
        }
        has
    }
}

/// All kernels of a text.
pub(super) fn parsed(ptx: &str) -> Result<Vec<Kernel>, CompiledError> {
    let mut reader = Reader { rest: ptx.trim_end_matches(['\0', '\n', ' ']), line: 1 };
    let mut kernels = Vec::new();
    loop {
        reader.skip();
        if reader.rest.is_empty() {
            break;
        }
        if [".version", ".target", ".address_size"].iter().any(|w| reader.rest.starts_with(w)) {
            let end = reader.rest.find('\n').unwrap_or(reader.rest.len());
            reader.forward(end);
        } else if reader.rest.starts_with(".extern .shared") {
            // Its size comes with a launch. There is one, so its name says nothing new.
            reader.until(';')?;
        } else if reader.eat(".visible") {
            reader.skip();
            if !reader.eat(".entry") {
                return Err(malformed(reader.line, "neither a kernel nor shared memory", reader.rest));
            }
            kernels.push(kernel(&mut reader)?);
        } else {
            return Err(malformed(reader.line, "neither a kernel nor shared memory", reader.rest));
        }
    }
    match kernels.is_empty() {
        true => Err(CompiledError::Empty),
        false => Ok(kernels),
    }
}

fn kernel(reader: &mut Reader) -> Result<Kernel, CompiledError> {
    let line = reader.line;
    let name = reader.until('(')?.trim().to_string();
    let mut parameters = Vec::new();
    for parameter in reader.until(')')?.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        // Between kind and name stands what is known of an address, where it is one.
        let words: Vec<&str> = parameter.split_whitespace().collect();
        let good = match words[..] {
            [".param", kind @ (".u32" | ".u64" | ".f64"), .., name] if words.len() == 3 || words[2] == ".ptr" => {
                Some(Parameter { name: name.into(), kind: kind[1..].into() })
            }
            _ => None,
        };
        parameters.push(
            good.ok_or_else(|| malformed(line, "a parameter of a kind that the driver does not pass", parameter))?,
        );
    }
    let bounds = reader.until('{')?;
    let most_threads = directive(bounds, ".maxntid").or(directive(bounds, ".reqntid"));
    let mut registers: Vec<Registers> = Vec::new();
    let mut body = Vec::new();
    let mut depth = 1;
    while depth > 0 {
        reader.skip();
        let line = reader.line;
        if reader.eat("}") {
            depth -= 1;
            continue;
        }
        // Braces inside are there for names of registers alone.
        if reader.eat("{") {
            depth += 1;
            continue;
        }
        let label = reader.rest.find(|c: char| !(c.is_alphanumeric() || "$_".contains(c))).unwrap_or(0);
        if label > 0 && reader.rest[label..].starts_with(':') {
            body.push(Statement::Label(reader.until(':')?.into()));
            continue;
        }
        let text = reader.until(';')?.trim();
        if let Some(text) = text.strip_prefix(".reg") {
            let new = register(text).ok_or_else(|| malformed(line, "registers", text))?;
            match registers.iter().find(|r| r.prefix == new.prefix) {
                None => registers.push(new),
                // One variable serves all braces that have a register of this name.
                Some(known) if *known == new && new.count.is_none() => {}
                Some(_) => return Err(malformed(line, "a name of two registers", text)),
            }
        } else if text.starts_with('.') {
            // One of them tells which words of an access nobody uses: all are taken for read.
            if !text.starts_with(".pragma") {
                return Err(malformed(line, "not an instruction", text));
            }
        } else {
            let mut instruction = instruction(line, text)?;
            instruction.operands.iter_mut().for_each(|o| own_names(o, &registers));
            body.push(Statement::Instruction(instruction));
        }
    }
    Ok(Kernel { name, parameters, most_threads, registers, body })
}

/// Names without a per cent sign that are registers.
fn own_names(operand: &mut Operand, registers: &[Registers]) {
    match operand {
        Operand::Several(all) => all.iter_mut().for_each(|o| own_names(o, registers)),
        Operand::Name(name) => {
            let named = format!("%{name}");
            if registers.iter().any(|r| r.prefix == named && r.count.is_none()) {
                *operand = Operand::Register(named);
            }
        }
        _ => {}
    }
}

/// The first number behind a directive of a kernel.
fn directive(bounds: &str, name: &str) -> Option<u32> {
    let (_, rest) = bounds.split_once(name)?;
    rest.split(|c: char| !c.is_ascii_digit()).find(|n| !n.is_empty())?.parse().ok()
}

/// `.b32 %r<5>`, or `.b16 tmp`.
fn register(text: &str) -> Option<Registers> {
    let (kind, names) = text.trim().strip_prefix('.')?.split_once(char::is_whitespace)?;
    let (prefix, count) = match names.trim().strip_suffix('>') {
        Some(many) => {
            let (prefix, count) = many.split_once('<')?;
            (prefix.starts_with('%').then_some(prefix)?.to_string(), Some(count.parse().ok()?))
        }
        None => (format!("%{}", names.trim()), None),
    };
    let known = matches!(kind, "pred" | "b16" | "b32" | "f32" | "b64" | "f64");
    let good = prefix[1..].chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (known && good).then(|| Registers { prefix, kind: kind.into(), count })
}

fn instruction(line: usize, text: &str) -> Result<Instruction, CompiledError> {
    let wrong = || malformed(line, "not an instruction", text);
    let (guard, text) = match text.strip_prefix('@') {
        Some(rest) => {
            let (guard, rest) = rest.split_once(char::is_whitespace).ok_or_else(wrong)?;
            let inverted = guard.strip_prefix('!');
            (Some((inverted.unwrap_or(guard).to_string(), inverted.is_some())), rest.trim())
        }
        None => (None, text),
    };
    let (op, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let operands = operands(rest).ok_or_else(wrong)?;
    Ok(Instruction { line, guard, op: op.split('.').map(String::from).collect(), operands })
}
