"""What capi-mover costs: measured in ratios within one run, never asserted by a test. See docs/performance.md."""
