//! A convolution's shape, and its text form.

use std::fmt;
use std::str::FromStr;

/// Shape of a square 2-D convolution over a batch.
///
/// x: [n, h, w, c_in]   w: [kernel, kernel, c_in / groups, c_out]   y: [n, h_out, w_out, c_out]
///
/// Written `n32 ic64 ih56 iw56 oc64 k3 s1 p1 g1`; read back with `n1`, `iw` = `ih`, `s1`, `p0`,
/// `g1` where left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dShape {
    /// Images.
    pub n: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Zero rim on each side.
    pub padding: usize,
    /// Channel groups; group g maps its consecutive input channels to its consecutive output
    /// channels.
    pub groups: usize,
}

impl Conv2dShape {
    /// Output height.
    pub fn h_out(&self) -> usize {
        (self.h + 2 * self.padding).saturating_sub(self.kernel) / self.stride + 1
    }

    /// Output width.
    pub fn w_out(&self) -> usize {
        (self.w + 2 * self.padding).saturating_sub(self.kernel) / self.stride + 1
    }

    /// Numbers in the input.
    pub fn x_len(&self) -> usize {
        self.n * self.h * self.w * self.c_in
    }

    /// Numbers in the weights.
    pub fn w_len(&self) -> usize {
        self.kernel * self.kernel * (self.c_in / self.groups) * self.c_out
    }

    /// Numbers in the output.
    pub fn y_len(&self) -> usize {
        self.n * self.h_out() * self.w_out() * self.c_out
    }

    /// Multiply-accumulates of one pass, those with the zero rim counted; one MAC is two FLOPs.
    pub fn macs(&self) -> u64 {
        (self.n * self.h_out() * self.w_out()) as u64 * self.w_len() as u64
    }

    /// Whether the numbers make a convolution.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(&self) -> Result<(), String> {
        let named = [
            ("n", self.n),
            ("h", self.h),
            ("w", self.w),
            ("c_in", self.c_in),
            ("c_out", self.c_out),
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("groups", self.groups),
        ];
        for (name, value) in named {
            if value == 0 {
                return Err(format!("{name} is 0, must be at least 1"));
            }
        }
        if !self.c_in.is_multiple_of(self.groups) || !self.c_out.is_multiple_of(self.groups) {
            let Conv2dShape { c_in, c_out, groups, .. } = self;
            return Err(format!(
                "{groups} groups do not divide {c_in} input and {c_out} output channels"
            ));
        }
        let side = |side: usize| self.padding.checked_mul(2).and_then(|rim| rim.checked_add(side));
        let (Some(h), Some(w)) = (side(self.h), side(self.w)) else {
            return Err("padding is too large".into());
        };
        if self.kernel > h || self.kernel > w {
            let (kernel, padding) = (self.kernel, self.padding);
            let (h_in, w_in) = (self.h, self.w);
            return Err(format!(
                "kernel {kernel} is larger than the {h_in}x{w_in} input with padding {padding}"
            ));
        }
        let product = |sides: &[usize]| sides.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        let images = [
            product(&[h, w, self.c_in]),
            product(&[self.h_out(), self.w_out(), self.c_out]),
            product(&[self.kernel, self.kernel, self.c_in / self.groups, self.c_out]),
        ];
        for len in images {
            // One image is addressed with 32-bit offsets.
            if len
                .is_none_or(|len| len > u32::MAX as usize || len.checked_mul(4 * self.n).is_none())
            {
                return Err("an image or the weights hold more than 2^32 numbers".into());
            }
        }
        Ok(())
    }
}

impl fmt::Display for Conv2dShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conv2dShape { n, h, w, c_in, c_out, kernel, stride, padding, groups } = self;
        write!(f, "n{n} ic{c_in} ih{h} iw{w} oc{c_out} k{kernel} s{stride} p{padding} g{groups}")
    }
}

impl FromStr for Conv2dShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Conv2dShape, String> {
        let mut shape = Conv2dShape {
            n: 1,
            h: 0,
            w: 0,
            c_in: 0,
            c_out: 0,
            kernel: 0,
            stride: 1,
            padding: 0,
            groups: 1,
        };
        for field in text.split_whitespace() {
            let digits = field.find(|c: char| c.is_ascii_digit()).unwrap_or(field.len());
            let (name, value) = field.split_at(digits);
            let value = value
                .parse()
                .map_err(|_| format!("{text:?}: {field:?} is not a name and a number"))?;
            match name {
                "n" => shape.n = value,
                "ic" => shape.c_in = value,
                "ih" => shape.h = value,
                "iw" => shape.w = value,
                "oc" => shape.c_out = value,
                "k" => shape.kernel = value,
                "s" => shape.stride = value,
                "p" => shape.padding = value,
                "g" => shape.groups = value,
                _ => {
                    return Err(format!(
                        "{text:?}: unknown field {name:?}; known are n ic ih iw oc k s p g"
                    ));
                }
            }
        }
        if shape.w == 0 {
            shape.w = shape.h;
        }
        shape.check().map_err(|reason| format!("{text:?}: {reason}"))?;
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_fills_in_what_is_left_out() {
        let stem: Conv2dShape = "n32 ic3 ih224 oc64 k7 s2 p3".parse().unwrap();
        assert_eq!((stem.h_out(), stem.w_out(), stem.w, stem.groups), (112, 112, 224, 1));
        assert_eq!(stem.macs(), 32 * 112 * 112 * 49 * 3 * 64);
        assert_eq!(stem.to_string(), "n32 ic3 ih224 iw224 oc64 k7 s2 p3 g1");
        assert_eq!(stem.to_string().parse(), Ok(stem));
    }

    #[test]
    fn impossible_shapes_say_why() {
        for (text, reason) in [
            ("ic3 ih4 oc8 k7", "larger than the 4x4 input"),
            ("ic6 ih4 oc8 k3 g4", "4 groups do not divide"),
            ("ic6 ih4 oc8", "kernel is 0"),
            ("ic6 ih4 oc8 k1 z3", "unknown field"),
            ("ic6 ih4 oc8 kx", "not a name and a number"),
            ("ic65536 ih4 oc65536 k4", "more than 2^32"),
            ("ic16 ih16383 iw16384 oc16 k3 p1", "more than 2^32"),
        ] {
            let error = text.parse::<Conv2dShape>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        // Each output channel has weights for its own group alone.
        assert!("ic65536 ih4 oc65536 k4 g65536".parse::<Conv2dShape>().is_ok());
    }
}
