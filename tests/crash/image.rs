//! What a file system holds: for every file and folder what is surely on disk, what programs see,
//! and what was done in between. After a power loss the disk has what was sure and any part of the
//! rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::random::Random;

/// Bytes that reach a disk in one piece.
pub const SECTOR_BYTES: usize = 512;

/// What becomes of all that no sync confirmed.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// It is lost.
    Lost,
    /// It is there: only the program died.
    Kept,
    /// What was done before a moment is there, and so many bytes of what was written just then.
    Until { moment: u64, bytes: usize },
    /// Any of it, in any order: each sector, length and name as it was at any moment since the sync.
    Scattered { seed: u64 },
}

/// A file's number.
pub type FileId = usize;

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// A file.
#[derive(Debug, Clone, Default)]
pub struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<(u64, Change)>,
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes: new } => overwrite(bytes, *offset, new),
        Change::Length(length) => bytes.resize(*length, 0),
    }
}

/// The `number`th sector of `bytes`, with zeros where they end.
fn sector(bytes: &[u8], number: usize) -> [u8; SECTOR_BYTES] {
    let mut whole = [0; SECTOR_BYTES];
    let start = (number * SECTOR_BYTES).min(bytes.len());
    let end = (start + SECTOR_BYTES).min(bytes.len());
    whole[..end - start].copy_from_slice(&bytes[start..end]);
    whole
}

fn put_sector(bytes: &mut [u8], number: usize, content: &[u8; SECTOR_BYTES]) {
    let start = (number * SECTOR_BYTES).min(bytes.len());
    let end = (start + SECTOR_BYTES).min(bytes.len());
    bytes[start..end].copy_from_slice(&content[..end - start]);
}

impl Content {
    fn settled(bytes: Vec<u8>) -> Self {
        Content { durable: bytes.clone(), current: bytes, pending: Vec::new() }
    }

    /// What programs see.
    pub fn bytes(&self) -> &[u8] {
        &self.current
    }

    /// Turns one bit over, for programs and on the disk.
    pub fn damage(&mut self, place: usize, bit: usize) {
        for bytes in [&mut self.current, &mut self.durable] {
            bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= 1 << bit);
        }
    }

    /// Makes zeros of all from a place on, for programs and on the disk.
    fn wipe(&mut self, from: usize) {
        for bytes in [&mut self.current, &mut self.durable] {
            bytes.iter_mut().skip(from).for_each(|byte| *byte = 0);
        }
    }

    /// Writes at a place.
    pub fn write(&mut self, moment: u64, offset: usize, bytes: &[u8]) {
        overwrite(&mut self.current, offset, bytes);
        self.pending.push((moment, Change::Write { offset, bytes: bytes.to_vec() }));
    }

    /// Cuts, or makes longer with zeros.
    pub fn set_length(&mut self, moment: u64, length: usize) {
        self.current.resize(length, 0);
        self.pending.push((moment, Change::Length(length)));
    }

    /// The sectors that were changed since the last sync.
    fn dirty(&self) -> Vec<usize> {
        let mut sectors: Vec<usize> = Vec::new();
        for (_, change) in &self.pending {
            if let Change::Write { offset, bytes } = change
                && !bytes.is_empty()
            {
                sectors.extend(offset / SECTOR_BYTES..=(offset + bytes.len() - 1) / SECTOR_BYTES);
            }
        }
        sectors.sort_unstable();
        sectors.dedup();
        sectors
    }

    /// Makes sure what was written since the last sync. What an earlier sync failed on is not
    /// tried again.
    pub fn sync(&mut self) {
        self.durable.resize(self.current.len(), 0);
        self.put_down(|_| true);
    }

    /// A sync that fails: some sectors are on disk now, and the system forgets about the others.
    pub fn fail_sync(&mut self, random: &mut Random) {
        if random.one_in(2) {
            self.durable.resize(self.current.len(), 0);
        }
        self.put_down(|_| random.one_in(2));
    }

    fn put_down(&mut self, mut choose: impl FnMut(usize) -> bool) {
        let dirty = self.dirty();
        for number in dirty.into_iter().filter(|number| choose(*number)) {
            put_sector(&mut self.durable, number, &sector(&self.current, number));
        }
        self.pending.clear();
    }

    /// What is on disk after a power loss.
    fn survivor(&self, fate: Fate, random: &mut Random) -> Vec<u8> {
        match fate {
            Fate::Lost => self.durable.clone(),
            Fate::Kept => self.current.clone(),
            Fate::Until { moment, bytes } => {
                let mut left = self.durable.clone();
                for (when, change) in &self.pending {
                    match change {
                        _ if *when < moment => apply(&mut left, change),
                        Change::Write { offset, bytes: new } if *when == moment => {
                            overwrite(&mut left, *offset, &new[..bytes.min(new.len())]);
                        }
                        _ => {}
                    }
                }
                left
            }
            Fate::Scattered { .. } => self.scattered(random),
        }
    }

    fn scattered(&self, random: &mut Random) -> Vec<u8> {
        let mut states = vec![self.durable.clone()];
        for (_, change) in &self.pending {
            let mut state = states[states.len() - 1].clone();
            apply(&mut state, change);
            states.push(state);
        }
        if states.len() == 1 {
            return states.swap_remove(0);
        }
        // Sometimes each sector is old or new, sometimes it is of any moment.
        let ends_only = random.one_in(2);
        let any = |random: &mut Random| match ends_only {
            true => random.below(2) * (states.len() - 1),
            false => random.below(states.len()),
        };
        let mut left = vec![0; states[any(random)].len()];
        for number in 0..left.len().div_ceil(SECTOR_BYTES) {
            let state = any(random);
            put_sector(&mut left, number, &sector(&states[state], number));
        }
        left
    }
}

#[derive(Debug, Clone)]
enum Renaming {
    Set(String, FileId),
    Remove(String),
    Move { from: String, to: String, file: FileId },
}

/// A folder of files.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    durable: BTreeMap<String, FileId>,
    current: BTreeMap<String, FileId>,
    pending: Vec<(u64, Renaming)>,
    /// When it was made, until its parent is synced.
    made: Option<u64>,
}

fn rename(names: &mut BTreeMap<String, FileId>, renaming: &Renaming) {
    match renaming {
        Renaming::Set(name, file) => {
            names.insert(name.clone(), *file);
        }
        Renaming::Remove(name) => {
            names.remove(name);
        }
        Renaming::Move { from, to, file } => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
    }
}

impl Folder {
    /// A folder that was made just now.
    pub fn made(moment: u64) -> Self {
        Folder { made: Some(moment), ..Folder::default() }
    }

    /// The files that programs see.
    pub fn names(&self) -> &BTreeMap<String, FileId> {
        &self.current
    }

    /// Gives a file its first name.
    pub fn add(&mut self, moment: u64, name: &str, file: FileId) {
        self.change(moment, Renaming::Set(name.to_owned(), file));
    }

    /// Takes a name away.
    pub fn remove(&mut self, moment: u64, name: &str) {
        self.change(moment, Renaming::Remove(name.to_owned()));
    }

    /// Gives a file another name.
    pub fn rename(&mut self, moment: u64, from: &str, to: &str, file: FileId) {
        self.change(moment, Renaming::Move { from: from.to_owned(), to: to.to_owned(), file });
    }

    fn change(&mut self, moment: u64, renaming: Renaming) {
        rename(&mut self.current, &renaming);
        self.pending.push((moment, renaming));
    }

    /// Makes its names sure.
    pub fn sync(&mut self) {
        self.durable.clone_from(&self.current);
        self.pending.clear();
    }

    /// Its own name is sure from now on.
    pub fn is_known(&mut self) {
        self.made = None;
    }

    fn survivor(&self, fate: Fate, random: &mut Random) -> Option<BTreeMap<String, FileId>> {
        let mut keeps = |moment: u64| match fate {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::Until { moment: last, .. } => moment < last,
            Fate::Scattered { .. } => random.one_in(2),
        };
        if self.made.is_some_and(|moment| !keeps(moment)) {
            return None;
        }
        let mut names = self.durable.clone();
        for (moment, renaming) in &self.pending {
            if keeps(*moment) {
                rename(&mut names, renaming);
            }
        }
        Some(names)
    }
}

/// All folders and files.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The folders by their paths.
    pub folders: BTreeMap<PathBuf, Folder>,
    /// The files, named or not.
    pub files: Vec<Content>,
    /// How many changes there were so far.
    pub moment: u64,
}

impl Image {
    /// An empty file system with one folder.
    pub fn with_folder(path: &Path) -> Self {
        let folders = BTreeMap::from([(path.to_owned(), Folder::default())]);
        Image { folders, ..Image::default() }
    }

    /// The next change's moment.
    pub fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// The files in a folder with their contents.
    pub fn listing(&self, folder: &Path) -> impl Iterator<Item = (&String, &[u8])> {
        let names = self.folders.get(folder).map(Folder::names);
        names.into_iter().flatten().map(|(name, file)| (name, self.files[*file].bytes()))
    }

    /// How many bytes the last change wrote, if it was a write.
    pub fn written(&self) -> Option<usize> {
        self.files.iter().find_map(|file| match file.pending.last() {
            Some((moment, Change::Write { bytes, .. })) if *moment == self.moment => Some(bytes.len()),
            _ => None,
        })
    }

    /// Makes zeros of a file from a place on.
    pub fn wipe(&mut self, folder: &Path, name: &str, from: usize) {
        let file = self.folders[folder].current[name];
        self.files[file].wipe(from);
    }

    /// Takes a name away for ever.
    pub fn forget(&mut self, folder: &Path, name: &str) {
        let folder = self.folders.get_mut(folder).expect("a folder");
        folder.current.remove(name);
        folder.durable.remove(name);
    }

    /// Bytes of all files that have a name.
    pub fn used(&self) -> usize {
        let names = self.folders.values().flat_map(|folder| folder.names().values());
        names.map(|file| self.files[*file].bytes().len()).sum()
    }

    /// Whether programs see the same in both.
    pub fn shows_the_same_as(&self, other: &Image) -> bool {
        self.folders.keys().eq(other.folders.keys())
            && self.folders.keys().all(|folder| self.listing(folder).eq(other.listing(folder)))
    }

    /// What there is after a crash. When the machine died with the program, all of it is on disk.
    pub fn after(&self, fate: Fate) -> Image {
        let seed = match fate {
            Fate::Kept => return self.clone(),
            Fate::Scattered { seed } => seed,
            _ => 0,
        };
        let mut random = Random::new(seed);
        let mut left = Image::default();
        for (path, folder) in &self.folders {
            let Some(names) = folder.survivor(fate, &mut random) else { continue };
            let mut kept = Folder::default();
            for (name, file) in names {
                let bytes = self.files[file].survivor(fate, &mut random);
                left.files.push(Content::settled(bytes));
                kept.current.insert(name, left.files.len() - 1);
            }
            kept.sync();
            left.folders.insert(path.clone(), kept);
        }
        left
    }
}
