//! Which frames of a trajectory.

use std::str::FromStr;

/// Frames `start`, `start + step`, ... below `stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSlice {
    start: u64,
    stop: Option<u64>,
    step: u64,
}

impl FrameSlice {
    /// All frames.
    pub const ALL: FrameSlice = FrameSlice { start: 0, stop: None, step: 1 };
    /// The first frame.
    pub const FIRST: FrameSlice = FrameSlice { start: 0, stop: Some(1), step: 1 };

    /// Whether the frame of this number (from 0) is wanted.
    pub fn contains(&self, frame: u64) -> bool {
        frame >= self.start && self.stop.is_none_or(|s| frame < s) && (frame - self.start) % self.step == 0
    }

    /// Whether this frame and all after it are unwanted, so that reading may end.
    pub fn is_past(&self, frame: u64) -> bool {
        self.stop.is_some_and(|s| frame >= s)
    }
}

impl FromStr for FrameSlice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            part.parse::<u64>().map_err(|_| format!("\"{part}\" is not a frame number (they count from 0)"))
        };
        match text {
            "all" => return Ok(FrameSlice::ALL),
            "first" => return Ok(FrameSlice::FIRST),
            _ => {}
        }
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [one] => {
                let start = number(one)?;
                Ok(FrameSlice { start, stop: Some(start.checked_add(1).ok_or("too large")?), step: 1 })
            }
            [start, stop] | [start, stop, ""] => Ok(FrameSlice {
                start: if start.is_empty() { 0 } else { number(start)? },
                stop: if stop.is_empty() { None } else { Some(number(stop)?) },
                step: 1,
            }),
            [start, stop, step] => {
                let step = number(step)?;
                if step == 0 {
                    return Err("the step between frames is 0".into());
                }
                let rest: FrameSlice = format!("{start}:{stop}").parse()?;
                Ok(FrameSlice { step, ..rest })
            }
            _ => Err("expected all, first, a number, or start:stop:step".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &str) -> Vec<u64> {
        let slice: FrameSlice = text.parse().unwrap();
        (0..12).take_while(|f| !slice.is_past(*f)).filter(|f| slice.contains(*f)).collect()
    }

    #[test]
    fn frames_are_chosen_as_in_python() {
        assert_eq!(frames("all").len(), 12);
        assert_eq!(frames("first"), [0]);
        assert_eq!(frames("7"), [7]);
        assert_eq!(frames("2:5"), [2, 3, 4]);
        assert_eq!(frames("::5"), [0, 5, 10]);
        assert_eq!(frames("9:"), [9, 10, 11]);
        assert_eq!(frames("1:10:4"), [1, 5, 9]);
        for bad in ["", "-1", "a", "1:2:0", "1:2:3:4", "::x", "18446744073709551615"] {
            assert!(bad.parse::<FrameSlice>().is_err(), "{bad}");
        }
    }
}
