//! The history of a claim's scores tells what changed from each to the next, and why, page by page.

use serde_json::{Value, json};

use crate::events::{claim, quiet};
use crate::harness::Place;

#[tokio::test(flavor = "multi_thread")]
async fn each_score_tells_what_changed_since_the_one_before() {
    let place = Place::new().await;
    let worker = place.worker(&[]).await;
    place.publish(&[claim("v1", "PCN-1", |_| {})]).await;
    place.wait_count("SELECT count(*) FROM risk_scores", 1).await;
    let wrong_npi = claim("v2", "PCN-1", |event| {
        event["time"] = json!("2026-11-03T00:00:00Z");
        event["data"]["renderingProvider"]["npi"] = json!("1942788758");
    });
    place.publish(&[wrong_npi]).await;
    place.wait_count("SELECT count(*) FROM risk_scores", 2).await;
    quiet(&place, &[&worker]).await;
    // As another model with other rules would have scored it: without the baseline, one point higher.
    sqlx::query(
        "INSERT INTO risk_scores (claim_id, submission_id, overall_score, risk_level, log_odds_micro, component_scores,
             risk_factors, recommendations, blocking, model_version, rule_set_version, input_hash)
         SELECT claim_id, submission_id, overall_score + 1, risk_level, log_odds_micro, component_scores,
             (SELECT jsonb_agg(f) FROM jsonb_array_elements(risk_factors) f WHERE f->>'code' <> 'baseline'),
             recommendations, blocking, 'another', 'others', input_hash FROM risk_scores ORDER BY id DESC LIMIT 1",
    )
    .execute(&place.pool)
    .await
    .expect("a third score");

    let id = place.count("SELECT id FROM claims").await;
    let history = async |query: &str| {
        let (status, body) = worker.get(&format!("/api/v1/risk/{id}/history{query}")).await;
        assert_eq!((status, body["total"].as_i64()), (200, Some(3)), "{body}");
        body["items"].as_array().expect("items").clone()
    };
    let all = history("").await;
    assert_eq!(all.len(), 3);
    assert!(all[2].get("changes").is_none(), "the first score has nothing before it: {}", all[2]);

    let sent_again = &all[1]["changes"];
    assert_eq!(sent_again["reasons"], json!(["input"]), "{sent_again}");
    let score = |item: &Value| (item["overall_score"].as_f64().expect("score") * 10.0).round();
    let change = sent_again["score_change"].as_f64().expect("change");
    assert!(change > 0.0 && (change * 10.0).round() == score(&all[1]) - score(&all[2]), "{sent_again}");
    let came = &sent_again["factors"][0];
    assert_eq!((&came["code"], &came["points_before"]), (&json!("ID01"), &Value::Null), "{sent_again}");
    let factors = all[1]["risk_factors"].as_array().expect("factors");
    let factor = factors.iter().find(|factor| factor["code"] == came["code"]).expect("the factor that came");
    assert_eq!((&came["points_after"], &came["description"]), (&factor["points"], &factor["description"]));

    let model = &all[0]["changes"];
    assert_eq!((&model["reasons"], &model["score_change"]), (&json!(["model", "rules"]), &json!(1.0)), "{model}");
    let went = model["factors"].as_array().expect("factors");
    assert_eq!((went.len(), &went[0]["code"], &went[0]["points_after"]), (1, &json!("baseline"), &Value::Null));

    // A page compares its last score with the one behind it.
    for (query, expected) in [("?limit=1", &all[..1]), ("?skip=1&limit=1", &all[1..2]), ("?skip=2", &all[2..])] {
        assert_eq!(history(query).await, expected, "{query}");
    }
}
