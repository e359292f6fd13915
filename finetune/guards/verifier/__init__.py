"""Training of the verifier that course_guard.support runs: data, train, export, calibrate, in this order; see DATA.md."""
