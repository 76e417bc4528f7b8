//! What is carried, what is refused, what survives being killed.

use crate::fill::{Random, fill};
use crate::rig::{Server, ask, import, state, transfer};

#[test]
fn random_streams_come_over_and_back() {
    for seed in 1..=12 {
        let (Some(source), Some(back)) = (Server::redis(), Server::redis()) else {
            return;
        };
        let ours = Server::levada();
        fill(&mut source.connect(), &mut Random::new(seed));
        let before = state(&source, false);
        assert!(!before.is_empty(), "seed {seed} fills nothing");
        import(&source, &ours, &["--batch", "7"], 0);
        assert_eq!(state(&source, false), before, "seed {seed} changed the source");
        transfer("export", &ours, &back, &["--batch", "5", "--jobs", "3"], 0);
        assert_eq!(state(&back, false), before, "seed {seed}");
        // A second run finds all in place.
        let said = import(&source, &ours, &[], 0);
        assert!(said.contains(&format!("({} present)", before.len())), "{said}");
    }
}

#[test]
fn what_the_target_has_is_not_touched() {
    let Some(source) = Server::redis() else {
        return;
    };
    let ours = Server::levada();
    let (mut there, mut here) = (source.connect(), ours.connect());
    ask(&mut there, "XADD s 1-1 f new");
    ask(&mut there, "SET t new");
    ask(&mut here, "XADD s 1-1 f old");
    ask(&mut here, "SET t old");
    let before = state(&ours, false);
    let said = import(&source, &ours, &[], 1);
    assert!(said.contains("2 refused"), "{said}");
    assert!(said.contains("another stream under this key (entries with other content)"), "{said}");
    assert_eq!(state(&ours, false), before);
    let said = import(&source, &ours, &["--verify-only"], 3);
    assert!(said.contains("DIFFERS value: 1"), "{said}");
    assert_eq!(state(&ours, false), before);
    import(&source, &ours, &["--replace"], 0);
    import(&source, &ours, &["--verify-only"], 0);
}
