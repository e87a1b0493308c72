"""The rooms of Tremor, from the data source to the alert."""
