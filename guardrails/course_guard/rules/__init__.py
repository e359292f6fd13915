"""One rule a file: what it notices in a text. What follows from it is the policy's business."""
