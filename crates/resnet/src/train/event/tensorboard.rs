//! A run's numbers as an event file of TensorBoard's.

use std::io::{self, Write};

use resnet_formats::tfevents::Writer;

use super::Event;

/// Writes the numbers of a run that began at `start`, in seconds since 1970. Events know seconds
/// only where the network was evaluated; what lies between is taken to go on evenly.
///
/// | tag | of |
/// |---|---|
/// | `train/loss`, `train/top1`, `train/lr`, `train/images_per_s`, `train/wait` | steps |
/// | `SPLIT/loss`, `SPLIT/top1`, `SPLIT/top5` | evaluations |
/// | `gradient of y/LAYER`, `gradient of w/LAYER`, `std of y/LAYER` | looks into the network |
///
/// A number that is not finite is left out: TensorBoard draws none.
///
/// # Errors
/// The bytes cannot be written.
pub fn tensorboard(events: &[Event], start: f64, to: &mut dyn Write) -> io::Result<()> {
    let clock = Clock::of(events);
    let mut writer = Writer::new(to, start)?;
    for event in events {
        let (step, values) = match event {
            Event::Step(s) => {
                let name = |name: &str| format!("train/{name}");
                let values = [
                    (name("loss"), s.loss),
                    (name("top1"), s.top1),
                    (name("lr"), s.lr),
                    (name("images_per_s"), s.images_per_s),
                    (name("wait"), s.wait),
                ];
                (s.step, values.to_vec())
            }
            Event::Evaluated(e) => {
                let name = |name: &str| format!("{}/{name}", e.split);
                let values =
                    [(name("loss"), e.loss), (name("top1"), e.top1), (name("top5"), e.top5)];
                (e.step, values.to_vec())
            }
            Event::Monitored(m) => {
                let of = |layer: &crate::measure::probe::LayerMeasure| {
                    let name = |what: &str| format!("{what}/{}", layer.name);
                    [
                        (name("gradient of y"), layer.activation_gradient_norm),
                        (name("gradient of w"), layer.gradient_norm),
                        (name("std of y"), layer.response_std),
                    ]
                };
                (m.step, m.measurement.layers.iter().flat_map(of).collect())
            }
            _ => continue,
        };
        let finite = values.iter().filter(|(_, value)| value.is_finite());
        let finite: Vec<(&str, f64)> = finite.map(|(tag, value)| (tag.as_str(), *value)).collect();
        if !finite.is_empty() {
            writer.scalars(start + clock.seconds(step), step, finite)?;
        }
    }
    Ok(())
}

/// Seconds of a run by steps done, where they are known.
struct Clock(Vec<(u64, f64)>);

impl Clock {
    fn of(events: &[Event]) -> Clock {
        let known = events.iter().filter_map(|event| match event {
            Event::Evaluated(e) => Some((e.step, e.seconds)),
            Event::RunEnded(e) => Some((e.steps, e.seconds)),
            _ => None,
        });
        let mut points = vec![(0, 0.0)];
        for (step, seconds) in known.filter(|(_, seconds)| seconds.is_finite()) {
            if points.last().is_some_and(|last| step > last.0 && seconds >= last.1) {
                points.push((step, seconds));
            }
        }
        Clock(points)
    }

    fn seconds(&self, step: u64) -> f64 {
        let after = self.0.partition_point(|point| point.0 < step);
        match (self.0.get(after.wrapping_sub(1)), self.0.get(after)) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (step - a.0) as f64 / (b.0 - a.0) as f64,
            (_, Some(only)) | (Some(only), _) => only.1,
            (None, None) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ended, evaluated, started, step};
    use super::{Clock, tensorboard};

    #[test]
    fn time_goes_on_evenly_between_what_is_known() {
        let clock = Clock::of(&[started(), step(5), evaluated(20), ended(40)]);
        let at = [0, 10, 20, 30, 40, 50].map(|step| clock.seconds(step));
        assert_eq!(at, [0.0, 6.25, 12.5, 18.75, 25.0, 25.0]);
        assert_eq!(Clock::of(&[step(3)]).seconds(3), 0.0);
    }

    #[test]
    fn tags_and_steps_are_there() {
        let mut bytes = Vec::new();
        tensorboard(&[started(), step(10), evaluated(20)], 1e9, &mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for tag in ["train/loss", "train/lr", "train/images_per_s", "test/top1", "test/top5"] {
            assert_eq!(text.matches(tag).count(), 1, "{tag}");
        }
    }
}
