//! Places of panels: rows of a 24 columns wide grid, filled from the left.
//!
//! Before: [`crate::panel`]. After: [`crate::dashboard`].

use serde::{Serialize, Serializer};

use crate::panel::Panel;

/// Columns of Grafana's grid.
const GRID_COLUMNS: u32 = 24;

/// The panels of a dashboard with their places, in reading order.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) items: Vec<Item>,
    x: u32,
    y: u32,
    line_height: u32,
}

/// A row heading or a panel, in its place.
#[derive(Debug)]
pub(crate) enum Item {
    Row(Row),
    Panel(Box<Panel>),
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Row(row) => row.serialize(serializer),
            Self::Panel(panel) => panel.serialize(serializer),
        }
    }
}

/// A heading over the panels that follow.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    id: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    grid_pos: GridPos,
    collapsed: bool,
    panels: [(); 0],
}

/// A place in the grid, in columns and rows from its upper left corner.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct GridPos {
    h: u32,
    w: u32,
    x: u32,
    y: u32,
}

impl Layout {
    /// Begins a new section.
    pub(crate) fn row(&mut self, title: &'static str) {
        self.break_line();
        let grid_pos = GridPos { h: 1, w: GRID_COLUMNS, x: 0, y: self.y };
        let id = self.next_id();
        self.y += 1;
        let kind = "row";
        self.items.push(Item::Row(Row { id, kind, title, grid_pos, collapsed: false, panels: [] }));
    }

    /// Puts a panel of `width` columns and `height` rows to the right of the last, or below.
    pub(crate) fn add(&mut self, width: u32, height: u32, mut panel: Panel) {
        if GRID_COLUMNS < self.x + width {
            self.break_line();
        }
        panel.id = self.next_id();
        panel.grid_pos = GridPos { h: height, w: width, x: self.x, y: self.y };
        self.x += width;
        self.line_height = self.line_height.max(height);
        self.items.push(Item::Panel(Box::new(panel)));
    }

    /// Returns the panels without the headings.
    pub(crate) fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.items.iter().filter_map(|item| match item {
            Item::Row(_) => None,
            Item::Panel(panel) => Some(&**panel),
        })
    }

    fn break_line(&mut self) {
        self.y += self.line_height;
        self.x = 0;
        self.line_height = 0;
    }

    fn next_id(&self) -> u32 {
        u32::try_from(self.items.len()).map_or(u32::MAX, |count| count.saturating_add(1))
    }
}
