"""What the usual advice does, family by family: a part of docs/mitigations.md, used by make_docs.py."""

from __future__ import annotations

from table_of_mitigations import kept, listed, made_by, table

FAMILIES = {
    "gradient clipping": ("clip_norm", "clip_value"),
    "a lower learning rate": ("learning_rate",),
    "mixed precision": ("autocast", "master_weights", "float32_loss"),
    "loss scaling": ("loss_scale", "dynamic_loss_scale"),
    "scaling every tensor": ("per_tensor_scaling",),
    "normalisation": ("batch_norm", "layer_norm", "rms_norm", "group_norm"),
    "another initialisation": ("xavier_init", "he_init", "lecun_init", "orthogonal_init", "small_init"),
    "stochastic rounding": ("stochastic_rounding", "stochastic_updates"),
    "compensated summation": ("kahan_updates",),
    "other sums": ("promoted_accumulation", "chunked_accumulation", "gradient_accumulation"),
}


def advice() -> str:
    """Return what each family of mitigations does to the failures: cured if one of its members cures it."""
    content = kept("standard")
    rows = []
    for family, members in FAMILIES.items():
        found: dict[str, list[str]] = {"cured": [], "better": [], "unchanged": [], "worse": []}
        for failure in content.failures:
            cells = [content.cells[failure, name] for name in members if (failure, name) in content.cells]
            words = {cell.word for cell in cells}
            for word in ("cured", "better", "unchanged"):
                if word in words:
                    found[word].append(failure)
                    break
            if "worse" in words:
                found["worse"].append(
                    f"{failure} ({listed([f'`{c.mitigation}`' for c in cells if c.word == 'worse'])})"
                )
        rows.append([family, *(", ".join(names) for names in found.values())])
    return "\n\n".join([table(["advice", "cures", "helps", "leaves", "makes worse"], rows), made_by(content)])
