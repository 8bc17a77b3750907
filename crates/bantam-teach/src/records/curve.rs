//! A drawing of how the loss fell, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 48.0;
/// Points of a line at most; more steps are averaged.
const POINTS_MAX: usize = 240;
const COLOURS: [&str; 2] = ["#2a78d6", "#c2410c"];

/// Returns an SVG of two lines of losses, each over the whole width, with what each is.
pub(crate) fn draw(losses: &[Vec<f64>; 2], names: [&str; 2]) -> String {
    let lines = losses.each_ref().map(|losses| averaged(losses));
    let highest = lines.iter().flatten().copied().fold(1e-9, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let bottom = HEIGHT - MARGIN;
    let height = |loss: f64| bottom - loss / highest * (bottom - MARGIN);
    for part in 0..=4 {
        let loss = highest * f64::from(part) / 4.0;
        let y = height(loss);
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<path d=\"M{MARGIN} {y:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{loss:.2}</text>",
            WIDTH - MARGIN / 2.0,
            MARGIN - 6.0,
            y + 4.0
        );
    }
    for (index, (line, (name, colour))) in lines.iter().zip(names.into_iter().zip(COLOURS)).enumerate() {
        let Some(last) = line.len().checked_sub(1) else { continue };
        let step = (WIDTH - 1.5 * MARGIN) / last.max(1) as f64;
        let points: Vec<String> = line
            .iter()
            .enumerate()
            .map(|(place, loss)| format!("{:.1},{:.1}", MARGIN + place as f64 * step, height(*loss)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}: {} values, last loss {:.3}</text>",
            points.join(" "),
            MARGIN,
            HEIGHT - MARGIN / 2.0 + 14.0 * index as f64,
            losses[index].len(),
            line[last]
        );
    }
    svg.push_str("<text x=\"48\" y=\"28\">training loss</text>\n</svg>\n");
    svg
}

fn averaged(losses: &[f64]) -> Vec<f64> {
    let size = losses.len().div_ceil(POINTS_MAX).max(1);
    losses.chunks(size).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runs_are_drawn_within_the_frame() {
        let falling = |steps: u32| (0..steps).map(|step| 4.0 / f64::from(step + 1)).collect::<Vec<f64>>();
        let svg = draw(&[falling(1000), falling(3)], ["one", "other"]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(
            svg.contains("one: 1000 values") && svg.contains("other: 3 values") && svg.ends_with("</svg>\n")
        );
        let points = svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            assert!((0.0..=WIDTH).contains(&x.parse::<f64>().unwrap()), "{point}");
            assert!((0.0..=HEIGHT).contains(&y.parse::<f64>().unwrap()), "{point}");
        }
        assert_eq!(draw(&[Vec::new(), Vec::new()], ["one", "other"]).matches("<polyline").count(), 0);
    }
}
