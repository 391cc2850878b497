"""Where photos come from: listing, decoding, labelled folders, synthetic scenes."""
