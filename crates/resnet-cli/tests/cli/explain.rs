//! `resnet explain`: the page, the same as Markdown, and that it goes on.

use std::fs;

use crate::support::Folder;
use crate::wrong_input::refused;

#[test]
fn the_explanation_is_made_once_and_whole() {
    let folder = Folder::new();
    let words = ["explain", "--steps", "3", "--out", "made", "--json"];
    let first = folder.ok(&words);
    let numbers = &first.json()[0];
    for (name, text) in numbers.as_object().unwrap() {
        assert!(!text.as_str().unwrap().is_empty() || name == "finding_length", "{name} is empty");
    }
    assert!(numbers["results_table"].as_str().unwrap().contains("| plain56 | 852,730 |"));
    assert!(numbers["chain_table"].as_str().unwrap().contains("| 1.1 | 1.611 | 6.116 | 117.4 |"));
    let page = fs::read_to_string(folder.path("made/report.html")).unwrap();
    let markdown = "made/residual-networks-in-ten-minutes";
    let text = fs::read_to_string(folder.path(&format!("{markdown}.md"))).unwrap();
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script"));
    for whole in [&page, &text] {
        assert!(whole.contains("What is multiplied?"));
    }
    assert!(!text.contains('{'), "every place is filled");
    // Every figure of the text is there, and in the page.
    let figures: Vec<&str> = text
        .split("](residual-networks-in-ten-minutes/")
        .skip(1)
        .filter_map(|rest| rest.split(".svg)").next())
        .collect();
    assert_eq!(figures.len(), 13, "{figures:?}");
    for name in figures {
        let svg = fs::read_to_string(folder.path(&format!("{markdown}/{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
    }
    assert_eq!(page.matches("<p class=\"source\">").count(), 13);
    let again = folder.ok(&words);
    assert_eq!(again.err.matches("finished before").count(), 5, "{}", again.err);
    assert_eq!(again.out, first.out);
    refused(&folder.run(&["explain", "--steps", "0", "--out", "none"]), 2, &["steps", "0"]);
    assert!(!folder.path("none").exists());
}
