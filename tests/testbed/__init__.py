"""The test bed: real control planes, real CRDs, realistic fleets."""
