use crate::{Access, Options};

/// Views of one address cannot be told apart; as many can be taken back as were handed out, on any threads.
#[test]
fn each_view_that_was_handed_out_can_be_recalled_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new().access(Access::ReadWrite).create(true).length(1 << 16);
    let region = options.open(folder.path().join("file")).unwrap();
    // Others that are out, so that the free slots lie far apart and a search takes a while.
    let mut others: Vec<_> = (0..2000).map(|_| Some(region.view(1, 1).unwrap())).collect();
    others.iter_mut().step_by(200).for_each(|view| drop(view.take()));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let region = &region;
            scope.spawn(move || {
                for round in 0..2_000 {
                    let address = region.view(0, 1 + (round * 7 + thread * 13) % 50).unwrap().hand_out();
                    region.recall(address).unwrap();
                }
            });
        }
    });
    assert_eq!(region.views(), others.iter().flatten().count());
}
