//! What labels before and behind a prediction come to, one by one.
