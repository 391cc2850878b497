"""How the suite measures, in the words of its reports."""

from __future__ import annotations

METHOD = (
    "Engine alone: from uint8 pixels in memory to probabilities in memory, copies to and from a "
    "GPU included; all usable CPU cores. Each round is a new process that runs all batch sizes, "
    "each after one run that is not counted, on tiles decoded before.",
    "Whole path: from files to a finished Parquet table, each round a new process; images/s are "
    "without the start-up, which is reported apart. A scan decodes ahead while its engine comes "
    "up, which flatters short runs; so other programs are compared with it by whole runs, start-up "
    "included. Before the first round every program judges one photo, "
    "which is not counted; the check of the answers has read all files before, so they come from "
    "the page cache.",
    "Cases take turns, in a new random order each round, until their interval is within 3 % or the "
    "time is over. Interval: 95 %, Student's t on the logarithms of the rounds' rates; to a case's "
    "own variance that of all engines alone, or of all whole paths, is added as if from 4 more "
    "rounds. Two cases are told apart where Welch's t test with these variances says p < 0.05.",
    "Start-up is reported apart: of an engine importing, opening (which builds its session) and "
    "the first run; of a whole path all until the first images are on their way. What is "
    "remembered from runs before is hidden from the programs.",
    "Answers: of every counted run, against the weights in eager PyTorch in fp32 on pixels from "
    "the project's decoder (programs that decode at full size: on such pixels). fp32 must keep "
    "every probability within 1e-4, everything else the verdicts (1 in 1,000 may differ) and no "
    "crack may be called clear; a program that resamples by itself must agree on 98 % of verdicts. "
    "Answers nearer to those of a model with swapped channels or another normalisation are wrong.",
    "Recommended is the fastest scan that is right, or a more exact one that is at most 3 % "
    "slower, or 10 % if it is not told apart; then ONNX Runtime and a scan's own settings come "
    "first, and what is not faster than these beyond chance is not recommended. Photos have the "
    "precision of tiles, because a table has rows of one kind, but may have another engine.",
    "Shares: of the machine's own matrix rate in that precision, of JPEG decoding on all cores, "
    "and of the engine alone, each at its highest sample. They need not add up to 1, because work "
    "overlaps; one above 1 means that the ceiling was measured too low.",
    "Others: before every turn, threads on all cores work for 30 ms; what they do not get of the "
    "processor, others take. From 10 % (median) on, or where the same scan typically differs by "
    "25 % from round to round, the machine is busy. Scans follow a recommendation only from a run "
    "on a quiet machine that compared all engines, found none wrong, and showed the recommended "
    "scan to be faster, beyond chance, than each that a scan chooses from by itself.",
)
