"""The `.tegu` file: its members, its manifest and its signature."""
