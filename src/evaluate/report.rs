//! The measures as a page: reliability diagrams, a lift chart and a table, in one HTML file that needs nothing else.
//!
//! Colours follow the reader's choice of light or dark; each chart carries a title and a description for screen
//! readers, and the reliability diagrams their numbers as a table. Must never: hold a script, fetch anything, show a
//! single claim, or take in a name as markup.

use std::fmt::{Arguments, Write};

use super::{Bin, Metrics, count};

/// One model of the report: its name, its measures, the points of [`super::reliability`] and those of
/// [`super::lift_curve`].
pub type Model = (String, Metrics, Vec<Bin>, Vec<(f64, f64)>);

/// How many colours there are; further models begin again.
const COLOURS: usize = 6;

/// The dashes of the models' lines, so that they differ without colour.
const DASHES: [&str; COLOURS] = ["none", "7 4", "2 3", "9 3 2 3", "12 4", "5 2 1 2"];

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--grid:#dfe3e8;\
--s0:#0b62a8;--s1:#b34700;--s2:#00735c;--s3:#8a2f86;--s4:#7a5c00;--s5:#b3123f}\
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e8ebef;--soft:#a5afba;--grid:#343b44;\
--s0:#6cb6ff;--s1:#ff9e5e;--s2:#4fd1b0;--s3:#e29be0;--s4:#e3c14f;--s5:#ff8fa8}}\
body{margin:2rem auto;padding:0 1rem;max-width:68rem;background:var(--paper);color:var(--ink);\
font:16px/1.5 system-ui,sans-serif}\
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.5rem}h3{font-size:1rem;margin:0}\
p,.note,figcaption{color:var(--soft)}figure{margin:0;min-width:0}.wide{max-width:46rem}\
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(19rem,100%),1fr));gap:1.5rem}\
svg{width:100%;height:auto;max-width:46rem}.panels svg{max-width:26rem}\
svg text{fill:var(--soft);font:12px system-ui,sans-serif}\
.grid{stroke:var(--grid)}.even{stroke:var(--soft);stroke-dasharray:4 4}\
.line{fill:none;stroke:currentColor;stroke-width:2}.reach{stroke:currentColor;stroke-width:1.5;opacity:.55}\
.dot{fill:currentColor}.key{width:2.5rem;height:.75rem;vertical-align:middle;margin-right:.4rem}\
.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1.5rem}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.35rem .75rem;border-bottom:1px solid var(--grid);text-align:right;vertical-align:top}\
th:first-child,.note{text-align:left}th{font-weight:600}.note{min-width:16rem;font-size:.875rem}\
details{font-size:.875rem}summary{cursor:pointer;color:var(--soft)}\
.s0{color:var(--s0)}.s1{color:var(--s1)}.s2{color:var(--s2)}\
.s3{color:var(--s3)}.s4{color:var(--s4)}.s5{color:var(--s5)}";

/// The page, as HTML that is well-formed XML too.
///
/// `title` and the models' names are plain text and are escaped; models are shown in the order given.
#[must_use]
pub fn report_html(title: &str, models: &[Model]) -> String {
    let (mut out, title) = (String::new(), escape(title));
    put(
        &mut out,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        ),
    );
    table(&mut out, models);
    reliability_diagrams(&mut out, models);
    lift_chart(&mut out, models);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// One line of the table.
struct Measure {
    name: &'static str,
    note: &'static str,
    value: fn(&Metrics) -> Option<f64>,
    shown: fn(f64) -> String,
    /// Whether the line is left out when no model has a value above 0.
    optional: bool,
}

const fn measure(
    name: &'static str,
    value: fn(&Metrics) -> Option<f64>,
    shown: fn(f64) -> String,
    note: &'static str,
) -> Measure {
    Measure { name, note, value, shown, optional: false }
}

const MEASURES: [Measure; 15] = [
    measure("Claims", |of| Some(count(of.claims)), whole, "With a known outcome"),
    measure("Denied", |of| some(of, of.base_rate), percent, "Share of the claims"),
    measure("Mean score", |of| some(of, of.mean_score), percent, "Near the share denied is better"),
    measure("Area under the ROC curve", |of| of.auc, three, "Higher is better; 0.5 is chance"),
    measure("Average precision", |of| of.pr_auc, three, "Higher is better; the share denied is chance"),
    measure("Log loss", |of| some(of, of.log_loss), four, "Lower is better; in nats"),
    measure("Brier score", |of| some(of, of.brier), four, "Lower is better"),
    measure("Calibration error", |of| some(of, of.calibration_error), four, "Lower is better; chance keeps it above 0"),
    measure("Calibration slope", |of| of.calibration_slope, three, "Near 1 is better; below 1 is too extreme"),
    measure("Calibration intercept", |of| of.calibration_intercept, three, "Near 0 is better; in log-odds"),
    measure("Lift of the top tenth", |of| of.lift_top_decile, two, "Higher is better; 1 is chance"),
    measure("Denials in the top fifth", |of| of.recall_top_fifth, percent, "Higher is better; 20 % is chance"),
    measure(
        "Denied charges in the top fifth",
        |of| of.dollar_recall_top_fifth,
        percent,
        "Higher is better; a fifth of the claims by score",
    ),
    Measure {
        optional: true,
        ..measure(
            "Mean distance from the truth",
            |of| of.mean_error_to_truth,
            four,
            "Lower is better; known for simulated claims only",
        )
    },
    Measure {
        optional: true,
        ..measure("Unusable scores", |of| Some(count(of.unusable_scores)), whole, "Not a number from 0 to 1: a defect")
    },
];

/// A measure that is only a number by convention when there are no claims.
fn some(of: &Metrics, value: f64) -> Option<f64> {
    (of.claims > 0).then_some(value)
}

fn table(out: &mut String, models: &[Model]) {
    out.push_str("<h2>Measures</h2>\n<div class=\"scroll\">\n<table>\n<thead><tr><th scope=\"col\">Measure</th>");
    for (name, ..) in models {
        put(out, format_args!("<th scope=\"col\">{}</th>", escape(name)));
    }
    out.push_str("<th scope=\"col\" class=\"note\">Reading</th></tr></thead>\n<tbody>\n");
    for row in &MEASURES {
        if row.optional && !models.iter().any(|(_, of, ..)| (row.value)(of).is_some_and(|value| value > 0.0)) {
            continue;
        }
        put(out, format_args!("<tr><th scope=\"row\">{}</th>", row.name));
        for (_, of, ..) in models {
            put(out, format_args!("<td>{}</td>", (row.value)(of).map_or_else(|| "–".to_owned(), row.shown)));
        }
        put(out, format_args!("<td class=\"note\">{}</td></tr>\n", row.note));
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

fn reliability_diagrams(out: &mut String, models: &[Model]) {
    out.push_str(
        "<h2>Reliability</h2>\n<p>Claims in bins of about equal size, by score. On the dashed line, as many are denied \
         as the score says; above it, more. The bars are 95 % intervals.</p>\n<div class=\"panels\">\n",
    );
    let bins = models.iter().flat_map(|(_, _, bins, _)| bins);
    let top = bins.flat_map(|bin| [bin.mean_score, bin.denied_rate, bin.high]).fold(0.0, f64::max).min(1.0);
    let frame = Frame::new(360.0, 340.0, top, top);
    for (index, (name, of, bins, _)) in models.iter().enumerate() {
        panel(out, &frame, index, name, of, bins);
    }
    out.push_str("</div>\n");
}

/// The diagram of one model, and its numbers.
fn panel(out: &mut String, frame: &Frame, index: usize, name: &str, of: &Metrics, bins: &[Bin]) {
    let name = escape(name);
    put(out, format_args!("<figure>\n<h3>{name}</h3>\n"));
    let description = format!(
        "{} points of mean score and denied share. Calibration error {}. The numbers are in the table below the chart.",
        bins.len(),
        four(of.calibration_error)
    );
    frame.open(out, &format!("r{index}"), &format!("Reliability of {name}"), &description);
    frame.axes(out, "Mean score", "Denied", short_percent);
    frame.line(out, "even", (0.0, 0.0), (frame.x_max, frame.x_max.min(frame.y_max)));
    let (colour, dash) = style(index);
    put(out, format_args!("<g class=\"s{colour}\">\n"));
    for bin in bins {
        frame.line(out, "reach", (bin.mean_score, bin.low), (bin.mean_score, bin.high));
    }
    frame.path(out, dash, bins.iter().map(|bin| (bin.mean_score, bin.denied_rate)));
    for bin in bins {
        let (x, y) = frame.place((bin.mean_score, bin.denied_rate));
        put(
            out,
            format_args!(
                "<circle class=\"dot\" cx=\"{x}\" cy=\"{y}\" r=\"4\"><title>Score {}, denied {} of {} claims</title>\
                 </circle>\n",
                percent(bin.mean_score),
                percent(bin.denied_rate),
                bin.claims
            ),
        );
    }
    out.push_str("</g>\n</svg>\n<details><summary>Numbers</summary>\n<div class=\"scroll\"><table>\n<thead><tr>");
    out.push_str("<th scope=\"col\">Mean score</th><th scope=\"col\">Denied</th><th scope=\"col\">From</th>");
    out.push_str("<th scope=\"col\">To</th><th scope=\"col\">Claims</th></tr></thead>\n<tbody>\n");
    for bin in bins {
        let [score, denied, low, high] = [bin.mean_score, bin.denied_rate, bin.low, bin.high].map(percent);
        put(out, format_args!("<tr><th scope=\"row\">{score}</th><td>{denied}</td><td>{low}</td><td>{high}</td>"));
        put(out, format_args!("<td>{}</td></tr>\n", bin.claims));
    }
    out.push_str("</tbody>\n</table></div>\n</details>\n</figure>\n");
}

fn lift_chart(out: &mut String, models: &[Model]) {
    out.push_str(
        "<h2>Lift</h2>\n<p>Of the claims with the highest scores, how many times as many were denied as of all claims.\
         </p>\n<ul class=\"legend\">\n",
    );
    for (index, (name, ..)) in models.iter().enumerate() {
        let (colour, dash) = style(index);
        put(
            out,
            format_args!(
                "<li><svg class=\"key s{colour}\" viewBox=\"0 0 40 12\" aria-hidden=\"true\"><path class=\"line\" \
                 stroke-dasharray=\"{dash}\" d=\"M0 6H40\"/></svg>{}</li>\n",
                escape(name)
            ),
        );
    }
    out.push_str("</ul>\n<figure class=\"wide\">\n");
    let top = models.iter().flat_map(|(.., curve)| curve).map(|point| point.1).fold(1.0, f64::max);
    let frame = Frame::new(720.0, 360.0, 1.0, top);
    let tops = models.iter().map(|(name, of, ..)| {
        let lift = of.lift_top_decile.map_or_else(|| "unknown".to_owned(), two);
        format!("{}: {lift}", escape(name))
    });
    let description = format!("Lift of the top tenth of claims. {}.", tops.collect::<Vec<_>>().join("; "));
    frame.open(out, "lift", "Lift by share of claims", &description);
    frame.axes(out, "Share of claims, highest scores first", "Lift", short_number);
    frame.line(out, "even", (0.0, 1.0), (1.0, 1.0));
    for (index, (name, _, _, curve)) in models.iter().enumerate() {
        let (colour, dash) = style(index);
        put(out, format_args!("<g class=\"s{colour}\"><title>{}</title>\n", escape(name)));
        frame.path(out, dash, curve.iter().copied());
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n</figure>\n");
}

/// The colour and the dashes of a model.
fn style(index: usize) -> (usize, &'static str) {
    let colour = index % COLOURS;
    (colour, DASHES.get(colour).copied().unwrap_or("none"))
}

/// Where values lie within a chart that begins at 0 on both axes.
struct Frame {
    width: f64,
    height: f64,
    x_max: f64,
    y_max: f64,
    x_step: f64,
    y_step: f64,
}

const LEFT: f64 = 50.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 46.0;

impl Frame {
    /// A chart of this size in which the values `x` and `y` have room.
    fn new(width: f64, height: f64, x: f64, y: f64) -> Self {
        let ((x_max, x_step), (y_max, y_step)) = (round_up(x), round_up(y));
        Self { width, height, x_max, y_max, x_step, y_step }
    }

    /// A point's place, in the chart's units with one decimal.
    fn place(&self, (x, y): (f64, f64)) -> (String, String) {
        // What is not a number lies at zero: a chart with a hole says less than a page that does not open.
        let share = |value: f64, max: f64| if value.is_finite() { (value / max).clamp(0.0, 1.0) } else { 0.0 };
        let across = LEFT + share(x, self.x_max) * (self.width - LEFT - RIGHT);
        let down = self.height - BOTTOM - share(y, self.y_max) * (self.height - TOP - BOTTOM);
        (format!("{across:.1}"), format!("{down:.1}"))
    }

    /// `title` and `description` are escaped already.
    fn open(&self, out: &mut String, id: &str, title: &str, description: &str) {
        put(
            out,
            format_args!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" \
                 aria-labelledby=\"{id}-t {id}-d\">\n<title id=\"{id}-t\">{title}</title>\n\
                 <desc id=\"{id}-d\">{description}</desc>\n",
                self.width, self.height
            ),
        );
    }

    /// Grid, numbers and names of both axes; the lower one always is a share.
    fn axes(&self, out: &mut String, x_name: &str, y_name: &str, y_text: fn(f64) -> String) {
        for value in ticks(self.y_max, self.y_step) {
            self.line(out, "grid", (0.0, value), (self.x_max, value));
            let (_, y) = self.place((0.0, value));
            put(
                out,
                format_args!(
                    "<text x=\"{}\" y=\"{y}\" dy=\".32em\" text-anchor=\"end\">{}</text>\n",
                    LEFT - 8.0,
                    y_text(value)
                ),
            );
        }
        for value in ticks(self.x_max, self.x_step) {
            self.line(out, "grid", (value, 0.0), (value, self.y_max));
            let (x, _) = self.place((value, 0.0));
            let y = self.height - BOTTOM + 17.0;
            put(
                out,
                format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>\n", short_percent(value)),
            );
        }
        let middle = LEFT + (self.width - LEFT - RIGHT) / 2.0;
        let below = self.height - 8.0;
        put(out, format_args!("<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{x_name}</text>\n"));
        put(out, format_args!("<text x=\"6\" y=\"14\">{y_name}</text>\n"));
    }

    fn line(&self, out: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (self.place(from), self.place(to));
        put(out, format_args!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>\n"));
    }

    /// A line through all points; nothing when there are none.
    fn path(&self, out: &mut String, dash: &str, points: impl Iterator<Item = (f64, f64)>) {
        let steps: Vec<String> = points
            .map(|point| {
                let (x, y) = self.place(point);
                format!("{x} {y}")
            })
            .collect();
        if !steps.is_empty() {
            let steps = steps.join("L");
            put(out, format_args!("<path class=\"line\" stroke-dasharray=\"{dash}\" d=\"M{steps}\"/>\n"));
        }
    }
}

/// The end of an axis with room for `max`, and the step of its grid: 1, 2 or 5 times a power of ten, at most five
/// steps.
fn round_up(max: f64) -> (f64, f64) {
    let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
    let powers = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0];
    let steps = powers.into_iter().flat_map(|power| [power, 2.0 * power, 5.0 * power]);
    // A hair's breadth, so that 0.6 divided by 0.2 is three steps.
    let fits = |step: &f64| max / step <= 5.0 + 1e-9;
    let step = steps.into_iter().find(fits).unwrap_or(max / 5.0);
    (libm::ceil(max / step - 1e-9) * step, step)
}

fn ticks(max: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..=5_u32).map(move |number| f64::from(number) * step).take_while(move |value| *value <= max + step / 2.0)
}

/// A number with so many decimals, never as minus zero; a dash where it is none.
fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|byte| matches!(byte, b'0' | b'.')) => rest.to_owned(),
        _ => text,
    }
}

fn whole(value: f64) -> String {
    fixed(value, 0)
}

fn two(value: f64) -> String {
    fixed(value, 2)
}

fn three(value: f64) -> String {
    fixed(value, 3)
}

fn four(value: f64) -> String {
    fixed(value, 4)
}

fn percent(value: f64) -> String {
    fixed(value * 100.0, 1) + " %"
}

/// A per cent of an axis, without needless decimals.
fn short_percent(value: f64) -> String {
    short_number(value * 100.0) + " %"
}

/// A number of an axis, without needless decimals.
fn short_number(value: f64) -> String {
    let text = fixed(value, 1);
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// The text as HTML shows it, within an element or an attribute.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(letter),
        }
    }
    safe
}

fn put(out: &mut String, text: Arguments<'_>) {
    // Writing to a `String` never fails.
    out.write_fmt(text).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::super::{Scored, lift_curve, metrics, reliability};
    use super::*;

    fn model(name: &str) -> Model {
        let of = |at: u32| row(f64::from(at % 40) / 100.0, at * 7 % 40 < at % 40 / 2);
        let rows: Vec<Scored> = (0..400).map(of).collect();
        (name.to_owned(), metrics(&rows), reliability(&rows, 10), lift_curve(&rows))
    }

    #[test]
    fn names_are_text_and_never_markup() {
        let page = report_html("<b>\"A\" & 'B'</b>", &[model("<script>alert(1)</script>")]);
        assert!(page.contains("<h1>&lt;b&gt;&quot;A&quot; &amp; &#39;B&#39;&lt;/b&gt;</h1>"));
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
    }

    #[test]
    fn the_page_needs_nothing_else_and_serves_light_dark_and_screen_readers() {
        let page = report_html("Backtest", &[model("rules"), model("learned")]);
        for foreign in ["src=", "href=", "url(", "@import", "onload"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("prefers-color-scheme:dark"));
        // Two reliability diagrams and the lift chart.
        assert_eq!(page.matches("role=\"img\"").count(), 3);
        assert_eq!(page.matches("<desc ").count(), 3);
        assert!(page.contains("id=\"r0-t\"") && page.contains("id=\"r1-d\"") && page.contains("id=\"lift-t\""));
        assert_eq!(page.matches("<circle ").count(), 20);
    }

    #[test]
    fn every_tag_is_closed_in_its_turn() {
        let page = report_html("Backtest <1>", &[model("a"), model("b > c")]);
        let mut open = Vec::new();
        for tag in page.split('<').skip(2).map(|rest| rest.split('>').next().unwrap()) {
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap());
            }
        }
        assert!(open.is_empty());
    }

    #[test]
    fn the_table_shows_values_and_says_what_is_unknown() {
        let known = model("known");
        let auc = three(known.1.auc.unwrap());
        let empty = ("empty".to_owned(), metrics(&[]), vec![], vec![]);
        let page = report_html("Backtest", &[known, empty]);
        assert!(page.contains(&format!("<th scope=\"row\">Area under the ROC curve</th><td>{auc}</td><td>–</td>")));
        assert!(!page.contains("Unusable scores") && !page.contains("from the truth"));
        let broken = metrics(&[row(f64::NAN, true)]);
        assert!(report_html("", &[("broken".to_owned(), broken, vec![], vec![])]).contains("Unusable scores"));
    }

    #[test]
    fn values_that_are_not_numbers_never_reach_the_page() {
        let bin = Bin { mean_score: f64::NAN, denied_rate: f64::INFINITY, claims: 1, low: f64::NAN, high: 2.0 };
        let of = Metrics { auc: Some(f64::NAN), ..metrics(&[]) };
        let page = report_html("Backtest", &[("odd".to_owned(), of, vec![bin], vec![(0.5, f64::NAN)])]);
        let coordinates = page.split('"').filter(|text| text.contains("NaN") || text.contains("inf"));
        assert_eq!(coordinates.count(), 0, "{page}");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        let (max, step) = round_up(0.37);
        assert!((max - 0.4).abs() < 1e-12 && (step - 0.1).abs() < 1e-12);
        assert_eq!(round_up(0.0), (1.0, 0.2));
        assert_eq!(ticks(1.0, 0.2).count(), 6);
        assert_eq!((round_up(7.3), short_number(4.0), short_percent(0.05)), ((8.0, 2.0), "4".into(), "5 %".into()));
        assert_eq!((fixed(-0.000_01, 3), fixed(-0.2, 1)), ("0.000".to_owned(), "-0.2".to_owned()));
    }
}
