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
        "A replicate asks the same questions about harmlessly perturbed pictures; the table itself counts as "
        "one. The reachable oracle's scale is the smallest sufficient one of the mean score over all "
        "replicates but one, scored on the one left out, in turn, averaged. Luck: plain oracle minus "
        "reachable oracle, both over all replicates. Where no scale is sufficient in those that choose, "
        "its accuracy counts the largest or the smallest scale, whichever is better. A single replicate that "
        "chooses takes luck for need; what it reaches is told apart where there are more than two.",
    ),
    (
        "Accuracy headroom captured",
        "(policy - best fixed) / (oracle - best fixed), where the policy's mean tokens are at most "
        "the best fixed scale's. The oracle is the reachable one where there are replicates "
        "(its distance from the best fixed scale then taken over all), else the plain one.",
    ),
    (
        "Token headroom captured",
        "(T_best - T_policy) / (T_best - T_oracle), where the policy's accuracy is at least the best "
        "fixed scale's minus 0.5 points; T_oracle spends the smallest scale where none is sufficient.",
    ),
    (
        "APGR, CPT",
        "Of RouteLLM (arXiv 2406.18665). Weak is the smallest scale, strong the best fixed one. Performance "
        "gap recovered: (accuracy - weak) / (strong - weak). APGR is its mean over the way from the weak "
        "one's mean visual tokens to the strong one's, CPT(50%) the share of that way at which half the gap "
        "is recovered. With two scales the way is the share of calls to the strong one, as there.",
    ),
    (
        "AIQ",
        "Of RouterBench (arXiv 2403.12031): mean accuracy over mean visual tokens from the smallest scale's "
        "to the largest's. Of the curve as it is: no hull is taken of its settings in hindsight.",
    ),
    (
        "Hybrid",
        "The router, and after each answer a second look at its confidence, which may ask for another one at "
        "a larger scale, up to three passes. All passes are charged, encoding the image once.",
    ),
    (
        "Certified, regret, net",
        "Settings fixed beforehand are tested on the images of certify. What passed holds for images like "
        "those with the probability that is said, over the draw of certify. Regret: max(0, full scale's "
        "score - score). Net: full scale's score - score. Means are over images.",
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
        "Of the whole path: vision tower, routing, prompt and answer in the language model. At 7B: the "
        "same requests priced at LLaVA-1.5-7B's shape.",
    ),
    (
        "Time at 7B",
        "Of one request alone on a machine: encoding, prefill, and a step per token of the answer. Below "
        "about 144 tokens it falls more slowly than tokens, because tower, text and the reading of the "
        "weights remain. Routing's own time is given beside it.",
    ),
    (
        "Gain at equal tokens",
        "Accuracy minus that of another curve at the same mean visual tokens.",
    ),
)
