"""Which of three mitigations keeps bfloat16 weights moving? An experiment of one's own, on five seeds."""

import tempfile

import analysis as an

PLAN = {
    "name": "small steps in bfloat16",
    "seeds": 5,
    "experiments": [
        {
            "name": "stagnation",
            "net": "mlp",
            "args": {"sizes": [64, 8, 10], "activation": "tanh"},
            "policy": "bfloat16",
            "optimizer": "sgd:lr=0.005",
            "steps": 8,
            "batch": 8,
            "metric": "motion_error",
            "healthy": 0.3,
            "mitigations": ["learning_rate:0.1", "clip_norm:0.5", "kahan_updates"],
        }
    ],
}


def main() -> None:
    """Run it and print the verdicts."""
    plan = an.lab.plan_from(PLAN)
    with tempfile.TemporaryDirectory() as folder, an.lab.open_executor("threads", 2) as executor:
        found = an.lab.sweep(plan.cases(), an.experiments.run_case, folder, executor)
    lines = plan.matrix(found.records)
    print(f"without: {lines[0]['baseline']['median']:.2f} of the way that the weights should have gone is missing")
    for line in lines:
        value = line["value"]
        where = f"{value['median']:.3f} [{value['lo']:.3f}, {value['hi']:.3f}]"
        print(f"{line['mitigation']:18s} {where}  {line['direction']}{', and gone' if line['healthy'] else ''}")


if __name__ == "__main__":
    main()
