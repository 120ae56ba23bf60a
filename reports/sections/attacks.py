"""Attacks: did they succeed, why did some fail, and what do the examples look like?"""

from __future__ import annotations

import polars as pl

from reports import sentences, study_tables
from reports.parts import Figure, Panel, Source


def figures(source: Source) -> list[Figure]:
    """Figures of one attack."""
    from reports.charts.attacks import gallery_amplification, pair_gallery, success_matrix

    end, facts = source.end, source.facts
    summary, pairs = source.of_attack("attack_summary"), source.of_attack("pair_gallery")
    failed = source.of_attack("attack_failures")
    # of an untargeted attack that failed the target is the label: no end to show
    ended = summary.filter(pl.col("label") != pl.col("target"))
    matrix = [] if ended.is_empty() else [Panel(chart=success_matrix(ended, facts))]
    aimed = summary.is_empty() or bool(summary["targeted"].all())
    shown = [] if pairs.is_empty() else [Panel(chart=pair_gallery(pairs, facts))]
    said = (
        sentences.gallery(pairs, gallery_amplification(pairs))
        if shown
        else "No pair succeeded: there is nothing to show."
    )
    figures = [
        Figure(
            f"success{end}",
            "Success by class pair" if aimed else "Classes reached",
            "attack_summary",
            sentences.matrix(ended if aimed else summary, facts),
            matrix,
        )
    ]
    if not failed.is_empty():
        panel = Panel(table=study_tables.failure_table(failed))
        why = sentences.failures(failed)
        figures.append(Figure(f"failures{end}", "Why attacks failed", "attack_failures", why, [panel]))
    title = "Originals and their adversarial examples (Fig. 3)"
    return [*figures, Figure(f"pairs{end}", title, "pair_gallery", said, shown)]
