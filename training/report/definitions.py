"""What a report's words mean, as the page says it."""

DEFINITIONS = (
    (
        "Scale",
        "A number of visual tokens per view of the image; the ladder is the model's list of scales.",
    ),
    (
        "Accuracy",
        "Mean of the data set's own score over questions. Intervals are 95% bootstrap intervals: "
        "images are drawn with replacement together with all their questions, and differences are "
        "taken within each draw.",
    ),
    (
        "Fixed hull",
        "Upper concave hull of the fixed scales: what sending each question at random to one of two "
        "scales reaches.",
    ),
    (
        "Lookup",
        "The mean score per family and question kind on router-train, spent by price like the router."
        " It knows the data set's own annotation and no image.",
    ),
    (
        "Router",
        "argmax over scales of expected score minus price x visual tokens, as served, novelty "
        "fallback included. Its frontier runs over all prices; neighbouring settings are mixed, none "
        "is skipped in hindsight.",
    ),
    (
        "Sufficient",
        "A scale whose score is the best over all scales, when that is above zero.",
    ),
    (
        "Oracle (plain)",
        "The smallest sufficient scale of every question; its accuracy is the mean best score. Where "
        "no scale is sufficient it spends the smallest scale, the largest, or the question is "
        "excluded: all three are given. It is made of one replicate of the outcomes, so lucky guesses"
        " count as sufficient.",
    ),
    (
        "Oracle (reachable), luck",
        "A replicate asks the same questions about harmlessly perturbed pictures. The reachable oracle's "
        "scale is chosen on one replicate and scored on the other, both ways, averaged. Luck: plain "
        "oracle minus reachable oracle, both over both replicates. Where no scale is sufficient in the "
        "choosing replicate, its accuracy counts the largest or the smallest scale, whichever is better.",
    ),
    (
        "Accuracy headroom captured",
        "(policy - best fixed) / (oracle - best fixed), where the policy's mean tokens are at most "
        "the best fixed scale's. The oracle is the reachable one where there are two replicates "
        "(its distance from the best fixed scale then taken over both), else the plain one.",
    ),
    (
        "Token headroom captured",
        "(T_best - T_policy) / (T_best - T_oracle), where the policy's accuracy is at least the best "
        "fixed scale's minus 0.5 points; T_oracle spends the smallest scale where none is sufficient.",
    ),
    (
        "Zones",
        "All-right: every scale is sufficient. Scale-matters: some are. All-wrong: none is.",
    ),
    (
        "ECE, Brier score",
        "Of the predicted probability that a scale is sufficient: mean distance between prediction "
        "and share, over ten equal-width bins weighted by size; mean squared error.",
    ),
    (
        "FLOPs",
        "Of the whole path: vision tower, prompt and answer in the language model. At 7B: the same "
        "requests priced at LLaVA-1.5-7B's shape. Below about 144 tokens time falls more slowly than "
        "tokens, because the tower and the text remain.",
    ),
)
