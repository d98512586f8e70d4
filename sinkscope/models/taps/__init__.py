"""The taps: functions registered with transformers that see attention and experts while the model runs."""
